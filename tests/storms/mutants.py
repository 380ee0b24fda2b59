"""Mutants: suites broken in seeded ways, and planned. Each is planned, or refused in one line with file and line."""

from __future__ import annotations

import copy
import io
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchbench.suite.shipped import shipped_suites
from tests.conftest import TINY
from tests.plans import FULL
from tests.storms.command import call, fault_of, networks

EXECUTED = "executed"  # a file that code out of a suite would make
# In place of any value: of another type, out of any range, or of another meaning than it seems.
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        0.5,
        -0.0,
        1e308,
        1e-308,
        float("inf"),
        float("nan"),
        10**30,
        -(10**5000 % 10**40),
    ),
    *(
        "",
        " ",
        "x" * 5000,
        "no",
        "1e3",
        "a/b",
        "a/b/c",
        "../up",
        "~nobody/x",
        "a\nb",
        "é",
        "日本",
        "\u202e",
        "{class}",
        "=1+1",
    ),
    *(
        [],
        [[]],
        [None],
        [0, 0],
        ["x" * 300] * 3,
        {},
        {"": 1},
        {"a": {"b": {"c": 1}}},
        {"x" * 300: 1},
        [{"a": 1, "b": 2}],
    ),
    *(
        "kd",
        "ce",
        "scratch",
        "pretrained",
        "cifar10_subset",
        "timm/test_resnet",
        "/etc/passwd",
        "/dev/zero/x",
        "x" * 260,
    ),
)
LINES = (
    f'!!python/object/apply:os.system ["touch {EXECUTED}"]',
    f"plugins: [!!python/object/apply:os.system ['touch {EXECUTED}']]",
    *(
        "&a *a",
        "<<: *a",
        "<<: {a: 1}",
        "? x",
        "- - - -",
        "{",
        "[",
        "}",
        "'",
        '"',
        "|",
        ">",
        "%YAML 1.1",
        "---",
        "...",
        "\t",
        ":",
    ),
    *(
        "@",
        "`",
        "!",
        "&",
        "*",
        "#",
        "\0",
        "\ufeff",
        "\u2028",
        "\x85",
        "\ud7ff",
        "012: 1",
        "1_000: 2",
        "2020-01-01: 3",
        "name: b",
    ),
)


def texts(folder: Path) -> list[str]:
    """The suites that are broken: those that ship, and small ones with every kind of part."""
    (folder / "weights.bin").write_bytes(b"some weights")
    written = []
    for content in (TINY, TINY | FULL):
        stream = io.StringIO()
        YAML().dump(json.loads(json.dumps(content)), stream)
        written.append(stream.getvalue())
    return [*written, *(path.read_text(encoding="utf-8") for path in shipped_suites().values())]


def mutant(text: str, draw: random.Random) -> bytes:
    """A broken copy of a suite: one to three changes."""
    content = text.encode()
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(CHANGES)(content, draw)
    return content


def storm(seed: int, count: int, folder: Path) -> Iterator[tuple[str, str]]:
    """Plans so many mutants in a folder; gives the name of each and the rule that it breaks, empty for none."""
    draw, path = random.Random(seed), folder / "suite.yaml"
    originals = texts(folder)
    files = "|".join(re.escape(str(each)) for each in (path, *shipped_suites().values()))  # one may extend another
    with networks(folder / "cache", built=False):
        for number in range(count):
            path.write_bytes(mutant(draw.choice(originals), draw))
            ended = call(
                "plan", path, "--device", "cpu", "--jobs", "1", "--store", folder / "runs", "--data", folder / "data"
            )
            fault = fault_of(ended, rf"({files}):\d+: ")
            if any(each.name == EXECUTED for each in (folder, Path()) for each in each.iterdir()):
                fault = "code of the suite was run"
            yield f"mutant {seed}/{number}", fault


def _lines(change: Callable[[list[bytes], random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def changed(content: bytes, draw: random.Random) -> bytes:
        lines = content.split(b"\n")
        change(lines, draw)
        return b"\n".join(lines)

    return changed


def _delete_line(lines: list[bytes], draw: random.Random) -> None:
    del lines[draw.randrange(len(lines))]


def _repeat_line(lines: list[bytes], draw: random.Random) -> None:
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))


def _swap_lines(lines: list[bytes], draw: random.Random) -> None:
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]


def _add_line(lines: list[bytes], draw: random.Random) -> None:
    lines.insert(draw.randrange(len(lines) + 1), b" " * draw.choice((0, 2, 4)) + draw.choice(LINES).encode())


def _indent_line(lines: list[bytes], draw: random.Random) -> None:
    number = draw.randrange(len(lines))
    lines[number] = b" " * draw.randrange(7) + lines[number].lstrip()


def _truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _flip(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return b"\xff"
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    character = chr(draw.choice((draw.randrange(128), draw.randrange(0xD800), draw.randrange(0xE000, 0x110000))))
    return content[:place] + draw.choice((character.encode(), draw.choice(LINES).encode())) + content[place:]


def _encode(content: bytes, draw: random.Random) -> bytes:
    return content.decode(errors="replace").encode(
        draw.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32-le")), "replace"
    )


def _tree(content: bytes, draw: random.Random) -> bytes:
    """Deletes, renames, replaces, repeats or swaps a part of the parsed suite."""
    try:
        root = YAML(typ="safe", pure=True).load(content.decode())
    except Exception:  # it is broken already
        return _flip(content, draw)
    places = list(_places(root))
    if not places:
        return _flip(content, draw)
    parent, key = draw.choice(places)
    kind = draw.choice(("delete", "rename", "replace", "replace", "replace", "swap", "copy"))
    if kind == "delete":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        name = str(key)
        other = draw.choice((name[:-1], name + "s", name.upper(), name * 30, draw.choice(("é", "a.b", "x" * 300, ""))))
        parent[other] = parent.pop(key)
    elif kind == "swap":
        other_parent, other_key = draw.choice(places)
        one, two = copy.deepcopy(parent[key]), copy.deepcopy(other_parent[other_key])
        parent[key] = two
        other_parent[other_key] = one
    elif kind == "copy" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[key] = copy.deepcopy(draw.choice(VALUES))
    stream = io.StringIO()
    try:
        YAML().dump(root, stream)
    except Exception:  # no YAML has it
        return json.dumps(root, indent=1, default=str).encode()
    return stream.getvalue().encode(errors="replace")


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for key, value in items:
        yield node, key
        yield from _places(value)


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_lines(each) for each in (_delete_line, _repeat_line, _swap_lines, _add_line, _indent_line)),
    *(_truncate, _flip, _insert, _encode),
    *(_tree,) * 9,
)
