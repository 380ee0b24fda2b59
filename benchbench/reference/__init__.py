"""The reference pages under `docs/`, made from what the code says of itself: `python -m benchbench.reference docs`.

Imports no torch: components say what they are, and their sources are read, not run.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchbench.reference.commands import commands_page
from benchbench.reference.components import COMPONENT_PAGES, component_page
from benchbench.reference.hooks import hooks_page
from benchbench.reference.losses import losses_page
from benchbench.reference.suite import suite_page

COMMAND = "python -m benchbench.reference docs"
HEADER = f"<!-- Made by `{COMMAND}` from the code; change the code, not this page. -->\n\n"


def pages(folder: Path) -> dict[str, str]:
    """Every page by its file name, and an index of them and of the guides that the folder holds."""
    made = {
        "suite.md": suite_page(),
        "commands.md": commands_page(),
        "losses.md": losses_page(),
        **{name: component_page(name) for name in COMPONENT_PAGES},
        "hooks.md": hooks_page(),
    }
    return {name: HEADER + text for name, text in {"README.md": _index(folder, made), **made}.items()}


def write(folder: Path) -> list[Path]:
    """Writes every page into a folder, and gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in pages(folder).items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return paths


def _index(folder: Path, made: dict[str, str]) -> str:
    guides = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    own = {name: text for name, text in guides.items() if name not in made and name != "README.md"}
    lines = ["# Documentation", ""]
    if own:
        lines += ["Guides, whose examples are run by the tests:", ""]
        lines += [_entry(name, text) for name, text in own.items()]
        lines += [""]
    lines += [f"Reference, made from the code by `{COMMAND}`:", ""]
    lines += [_entry(name, text) for name, text in made.items()]
    return "\n".join(lines) + "\n"


def _entry(name: str, text: str) -> str:
    """A line of the index: a page's title, and the first sentence of what follows it."""
    title, _, rest = text.partition("\n")
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(rest.split()))
    first = re.split(r"[.:;] ", text, maxsplit=1)[0]
    return f"- [{title.removeprefix('# ')}]({name}): {first[:1].lower()}{first[1:]}"
