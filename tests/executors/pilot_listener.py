"""A plugin that collects what a run reports of its jobs on a cluster."""

from __future__ import annotations

from collections.abc import Callable

from benchbench import hookimpl
from benchbench.specs.pilots import Pilot


class PilotListener:
    """Notes the pilots of a run, and does something about each."""

    def __init__(self, react: Callable[[Pilot], object] = lambda pilot: None):
        self.pilots: list[Pilot] = []
        self.react = react

    @hookimpl
    def benchbench_pilot_changed(self, pilot: Pilot) -> None:
        self.pilots.append(pilot)
        self.react(pilot)

    def reasons(self) -> list[str]:
        """Reasons of those that have ended."""
        return [pilot.reason for pilot in self.pilots if pilot.state == "ended"]
