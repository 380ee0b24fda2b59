"""Dotted keys, as `--set` takes them: `arms.KD.recipe.epochs`; a backslash stands before a dot of a label."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CHARACTER = re.compile(r"\\.|.", flags=re.DOTALL)  # with the backslash that takes its meaning away


def split_key(key: str) -> tuple[str, ...]:
    r"""The parts of a dotted key: of `arms.T\=4\.5.recipe` they are "arms", "T=4.5" and "recipe"."""
    parts = [""]
    for character in _CHARACTER.findall(key):
        if character == ".":
            parts.append("")
        else:
            parts[-1] += character[-1]
    return tuple(parts)


def join_key(parts: Sequence[str | int]) -> str:
    """The dotted key of parts, of which `split_key` makes the same parts."""
    return ".".join(re.sub(r"([.=\\])", r"\\\1", str(part)) for part in parts)


def split_setting(text: str) -> tuple[str, str | None]:
    """The key and the value of KEY=VALUE; None where there is no `=`, but for those behind a backslash."""
    for character in _CHARACTER.finditer(text):
        if character[0] == "=":
            return text[: character.start()].strip(), text[character.end() :]
    return text.strip(), None
