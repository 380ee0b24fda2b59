"""The contract of an executor: it starts workers, hands them stages, and says how they ended. It decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchbench.hardware.devices import Devices


@dataclass(frozen=True)
class Event:
    """Something that happened to a stage: it "started", is "ready" (its libraries are loaded), made "progress",
    "finished", "failed", or "died" with its worker; `details` are what the worker says of that, such as the reason."""

    name: str
    key: str
    slot: str
    details: dict[str, Any] = field(default_factory=dict)


class Executor:
    """Runs stages in the slots of some devices.

    Results travel through the store; what a worker reports here only says that there is something to read.

    Args:
        devices: where to run.
        settings: what every worker is told (store, plugins, data_root, ...).
        lock: file descriptor of the store's lock, to be inherited by whatever writes to the store.
    """

    def __init__(self, devices: Devices, settings: dict[str, Any], lock: int):
        self.devices, self.settings, self.lock = devices, settings, lock

    def submit(self, slot: str, stages: list[dict[str, Any]]) -> None:
        """Starts stages in a free slot: one, or several that a worker runs side by side."""
        raise NotImplementedError

    def wait(self, timeout: float) -> list[Event]:
        """Events since the last call; waits up to `timeout` seconds for the first."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends all workers, at once."""
        raise NotImplementedError
