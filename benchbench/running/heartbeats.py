"""Heartbeats of running stages: the time of each one's last step."""

from __future__ import annotations

import time
from collections.abc import Iterator

# Silence after which a stage is reported first, in seconds; then again whenever it has doubled.
FIRST_NOTICE = 120.0


class Heartbeats:
    """The times of the last step of running stages, by key."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._notices: dict[str, float] = {}
        self._steps: set[str] = set()

    def start(self, key: str) -> None:
        """A stage begins, or begins again."""
        self._last[key], self._notices[key] = time.monotonic(), FIRST_NOTICE
        self._steps.discard(key)

    def step(self, key: str) -> None:
        """A stage has moved on."""
        self.start(key)
        self._steps.add(key)

    def end(self, key: str) -> None:
        """A stage runs no more."""
        self._last.pop(key, None)

    def silence(self, key: str) -> float:
        """Seconds since a running stage was last heard of."""
        return time.monotonic() - self._last[key]

    def has_moved(self, key: str) -> bool:
        """True where a running stage has taken a step since it began."""
        return key in self._steps

    def notices(self) -> Iterator[tuple[str, float]]:
        """Stages whose silence is to be reported now, with its seconds."""
        for key in self._last:
            silence = self.silence(key)
            if silence >= self._notices[key]:
                self._notices[key] = 2 * silence
                yield key, silence
