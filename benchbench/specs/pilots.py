"""A pilot: a job of a cluster's engine that works on the stages of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pilot:
    """A pilot as its engine has it.

    Attributes:
        name: the engine's for it, which is that of the job in claims.
        state: "queued", "running" or "ended".
        reason: why it waits, or where it runs; or why it has ended, empty where `benchbench work` ended by itself.
        hopeless: true where the engine says that it will never start.
        blames_stage: whether its end may be the doing of the stages that it had in hand.
    """

    name: str
    state: Literal["queued", "running", "ended"]
    reason: str = ""
    hopeless: bool = False
    blames_stage: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, f"{self.state}{f': {self.reason}' if self.reason else ''}")))
