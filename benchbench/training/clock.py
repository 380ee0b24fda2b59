"""The wall-clock time of a stage by section, without waiting for the device on the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from benchbench.hardware.accelerator import synchronize


@dataclass
class Account:
    """Seconds of one stage by section.

    Attributes:
        here: as they were: a section that several stages share counts in equal parts.
        alone: as they would have been alone: a shared section counts in full.
        carried: seconds (here) that the stage had taken when it went on from a checkpoint.
    """

    here: dict[str, float] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    carried: float = 0.0

    def carry(self, here: Mapping[str, float], alone: Mapping[str, float]) -> None:
        """Adds the seconds that a checkpoint holds."""
        for name, seconds in alone.items():
            self.add(name, here[name], seconds)
        self.carried += sum(here.values())

    def add(self, name: str, here: float, alone: float) -> None:
        self.here[name] = self.here.get(name, 0.0) + here
        self.alone[name] = self.alone.get(name, 0.0) + alone


Section = tuple[str, Sequence[Account]]


class Clock:
    """Books time section by section: at any moment one section is open, or none.

    On a GPU the work of a section is still under way when the next one begins, so a section's border is an event in
    the device's queue; `settle` waits for the device and books the time since. On a CPU the border is the time, and on
    Apple's GPU every border waits for it.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._open: list[Section] = []
        self._borders: list[tuple[torch.cuda.Event, Section | None]] = []
        self._since = time.perf_counter()
        if device.type == "cuda":
            self._mark(None)

    @contextlib.contextmanager
    def section(self, name: str, *accounts: Account) -> Iterator[None]:
        """Books the time in here under a name, shared by these accounts; a nested section's under its own alone."""
        self._close(self._open[-1] if self._open else None)
        self._open.append((name, accounts))
        try:
            yield
        finally:
            self._close(self._open.pop())

    def settle(self) -> None:
        """Books everything up to now; on a GPU it waits for the device."""
        self._close(self._open[-1] if self._open else None)
        if self.device.type != "cuda":
            return
        torch.cuda.synchronize(self.device)
        for (start, _), (end, section) in zip(self._borders, self._borders[1:], strict=False):
            self._book(section, start.elapsed_time(end) / 1000)
        self._borders = self._borders[-1:]

    def _close(self, section: Section | None) -> None:
        """Books the time since the last border on this section."""
        if self.device.type == "cuda":
            self._mark(section)
            return
        synchronize(self.device)
        now = time.perf_counter()
        self._book(section, now - self._since)
        self._since = now

    def _mark(self, section: Section | None) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        self._borders.append((event, section))

    def _book(self, section: Section | None, seconds: float) -> None:
        if section is None:
            return
        name, accounts = section
        for account in accounts:
            account.add(name, seconds / len(accounts), seconds)
