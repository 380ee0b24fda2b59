"""Damage: a finished store is damaged in seeded ways; reports, plans and merges say so, or leave the stage out."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.storms.command import Ended, call, fault_of, networks

# In place of a value of JSON.
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e300, "", "x" * 2000, [], {}, [1], {"a": 1}, 10**400, "\u202e\n")
COMMANDS = ("report", "plan", "merge")
# Of a stage's folder: all that a damaged number could come from.
READ = ("record.json", "spec.json", "state.json", "curve.jsonl", "weights.safetensors")


def storm(seed: int, count: int, suite: Path, finished: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Damages so many copies of a store; gives the name of each case and the rule that it breaks, empty for none.

    Args:
        seed: of the damage.
        count: of cases.
        suite: the suite's file.
        finished: its store.
        folder: for the copies.
    """
    draw, store = random.Random(seed), folder / "damaged"
    with networks(folder / "cache", built=False):
        whole = _numbers(_ended("report", suite, finished, folder))
        for number in range(count):
            shutil.rmtree(store, ignore_errors=True)
            shutil.copytree(finished, store)
            what = _damage(store, draw)
            command = COMMANDS[number % len(COMMANDS)]
            ended = _ended(command, suite, store, folder)
            yield f"damage {seed}/{number}: {what}, {command}", _fault(command, ended, whole)


def _ended(command: str, suite: Path, store: Path, folder: Path) -> Ended:
    if command == "merge":
        target = folder / "merged"
        shutil.rmtree(target, ignore_errors=True)
        return call("merge", store, "--into", target, "--json")
    common = (suite, "--device", "cpu", "--jobs", "1", "--store", store, "--data", folder / "data", "--json")
    extra = ("--report", folder / "report", "--format", "csv") if command == "report" else ()
    return call(command, *common, *extra)


def _fault(command: str, ended: Ended, whole: dict[str, float]) -> str:
    if command == "merge" and ended.code == 1:  # it names the damaged stages
        return "" if json.loads(ended.out)[0]["damaged"] else "exit code 1, and nothing is damaged"
    fault = fault_of(ended)
    if fault or command != "report" or ended.code:
        return fault
    wrong = {key for key, accuracy in _numbers(ended).items() if whole[key] != accuracy}
    return f"another accuracy, silently: {sorted(wrong)}" if wrong else ""


def _numbers(ended: Ended) -> dict[str, float]:
    """The accuracy of each finished cell, by its key."""
    return {cell["key"]: cell["accuracy"] for cell in json.loads(ended.out)["cells"] if cell["status"] == "done"}


def _damage(store: Path, draw: random.Random) -> str:
    """Damages one file; says how."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name in (*READ, "store.json"))
    files += sorted(store.glob("ledger/*.jsonl"))
    path = draw.choice(files)
    content = path.read_bytes()
    kind = draw.choice(
        ("truncated", "emptied", "flipped", "deleted", "value", "value", "encoded", "folder", "other file")
    )
    if kind == "deleted":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "value" and path.suffix == ".json":
        path.write_text(json.dumps(_changed(json.loads(content), draw)))
    elif kind == "other file":
        path.write_bytes(draw.choice([each for each in files if each != path]).read_bytes())
    elif kind == "truncated":
        path.write_bytes(content[: draw.randrange(max(len(content), 1))])
    elif kind == "encoded":
        path.write_bytes(content.decode(errors="replace").encode("utf-16"))
    elif kind == "emptied":
        path.write_bytes(b"")
    else:
        place = draw.randrange(max(len(content), 1))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
    return f"{kind} {path.relative_to(store)}"


def _changed(root: Any, draw: random.Random) -> Any:
    """JSON with one value replaced, or two swapped."""
    places = list(_places(root))
    if not places:
        return draw.choice(VALUES)
    parent, key = draw.choice(places)
    if draw.random() < 0.3:
        other, other_key = draw.choice(places)
        parent[key], other[other_key] = json.loads(json.dumps([other[other_key], parent[key]]))
    else:
        parent[key] = draw.choice(VALUES)
    return root


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for key, value in items:
        yield node, key
        yield from _places(value)
