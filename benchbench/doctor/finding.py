"""One thing that the doctor has looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# "note": it works, and could be better or should be known; "problem": runs would fail, or give wrong numbers.
Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor has looked at.

    Attributes:
        section: heading under which it stands.
        name: a few words.
        level: how it is.
        text: what was found.
        advice: what to do; empty where nothing is to be done.
        figures: its numbers by name, with their unit in the name, for programs.
    """

    section: str
    name: str
    level: Level
    text: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
