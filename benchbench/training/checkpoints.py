"""The state of an unfinished run: written atomically, read without executing anything."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from typing import Generic, TypeVar, cast

import torch

from benchbench.errors import one_line
from benchbench.hardware.energy import StageMeter
from benchbench.store import StageFolder, write_atomic
from benchbench.training.stop import STOP

State = TypeVar("State", bound=Mapping[str, object])


class Checkpoints(Generic[State]):
    """A run's checkpoint, written when the last one is older than an interval.

    Args:
        folder: the stage's folder.
        interval: seconds of work that a kill may cost.
        meter: of the run's energy, which goes on with the run.
        writes: false for a process beside the one that writes them, of several that train one network.
    """

    def __init__(self, folder: StageFolder, interval: float, meter: StageMeter | None = None, writes: bool = True):
        self.folder, self.interval, self.meter, self.writes = folder, interval, meter or StageMeter(), writes
        self.last = time.monotonic()

    def due(self) -> bool:
        """True where the last one is old enough, or the process has been asked to end."""
        if not self.writes:
            return False
        STOP.awaited = True
        return STOP.made or time.monotonic() - self.last >= self.interval

    def save(self, state: State) -> None:
        buffer = io.BytesIO()
        torch.save({**state, "stage": self.folder.path.name, "joules": self.meter.joules()}, buffer)
        write_atomic(self.folder.checkpoint, buffer.getvalue())
        self.last = time.monotonic()

    def load(self) -> State | None:
        """The saved state; None where there is none.

        A damaged checkpoint is set aside and the run starts from its beginning, which gives the same result later.
        """
        path = self.folder.checkpoint
        if not path.exists():
            return None
        try:
            with zipfile.ZipFile(path) as archive:  # torch.load does not look at the archive's checksums
                if damaged := archive.testzip():
                    raise ValueError(f"wrong checksum of {damaged}")
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or state.pop("stage", None) != self.folder.path.name:
                raise ValueError("it belongs to another stage")
            self.meter.carry(state.pop("joules", None))
            return cast(State, state)
        except Exception as error:  # torch's readers raise many kinds
            damaged_copy = path.with_suffix(".damaged")
            path.replace(damaged_copy)
            print(
                f"checkpoint damaged ({one_line(error)[:120]}): set aside as {damaged_copy.name}, "
                "starting from the beginning"
            )
            return None
