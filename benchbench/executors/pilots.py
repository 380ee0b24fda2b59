"""The contract of executors without slots in reach of this process: they keep pilots alive in a cluster.

A pilot is a job of the cluster's engine that runs `benchbench work` on the store of the run: it takes stages by
claims until nothing is left or its time is up. The runner has no slots then. It watches the store, and asks the
executor for as many pilots as there is work for. Results and failures travel through the store alone, so that the end
of a pilot, a node or the runner loses nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchbench.components import NO_PARAMS, Params
from benchbench.errors import BenchBenchError
from benchbench.executors.base import DeviceRequest
from benchbench.hardware.devices import Devices
from benchbench.specs.pilots import Pilot
from benchbench.store import write_json

FOLDER = "pilots"  # of logs and of what is remembered, in the store
# Environment of a pilot: its name, which claims carry.
NAME_VARIABLE = "BENCHBENCH_PILOT"


class EngineError(BenchBenchError):
    """An engine that refuses what it is asked for, or does not answer."""


@dataclass(frozen=True)
class WorkOrder:
    """The work of every pilot of a run.

    Attributes:
        store: folder of the store, absolute.
        arguments: of `benchbench work`; the executor adds `--max-hours` where its engine ends pilots after a while.
        params: of the executor, checked.
    """

    store: Path
    arguments: tuple[str, ...]
    params: Params = NO_PARAMS

    @property
    def folder(self) -> Path:
        """The folder of the pilots' logs."""
        return self.store / FOLDER

    @property
    def name(self) -> str:
        """A name for all pilots of this store and work, by which a later run knows them again."""
        return f"benchbench-{_short_hash(str(self.store))}-{_short_hash(repr(self.arguments))}"


class PilotExecutor:
    """Keeps pilots alive. Every method may be called again after an `EngineError`."""

    def __init__(self, order: WorkOrder):
        self.order = order

    @classmethod
    def find_devices(cls, request: DeviceRequest) -> Devices:
        """The devices that a run has, known before the plan is made and before a pilot has started.

        What pilots of the same request had is remembered in the store, see `remembered_devices`.

        Raises:
            BenchBenchError: it cannot have such devices.
        """
        raise NotImplementedError

    @property
    def demand(self) -> tuple[object, ...]:
        """The part of the demand that decides which devices a pilot gets, for `remember_devices`."""
        raise NotImplementedError

    @property
    def most(self) -> int:
        """Most pilots at once."""
        raise NotImplementedError

    def start(self, count: int) -> None:
        """Asks the engine for pilots; does not wait for them.

        Raises:
            EngineError: it refuses; the run ends.
        """
        raise NotImplementedError

    def pilots(self) -> list[Pilot]:
        """All pilots that were started, and those of an earlier run of the same name that had not ended at the start.

        Raises:
            EngineError: the engine does not answer; it is asked again.
        """
        raise NotImplementedError

    def withdraw(self) -> None:
        """Takes back the pilots that have not started."""
        raise NotImplementedError

    def end(self, names: Sequence[str]) -> None:
        """Asks pilots that run to save and end (SIGTERM); does not wait for them."""
        raise NotImplementedError

    def cancel(self, seconds: float) -> None:
        """Ends all pilots: those that run save checkpoints first, so many seconds at most."""
        raise NotImplementedError

    def leave(self, seconds: float) -> None:
        """Leaves the pilots to the next run; an engine that does not keep them ends them as `cancel` does."""
        self.cancel(seconds)

    def close(self) -> None:
        """Lets go of the engine at the end of a run; pilots end by themselves where nothing is left to do."""


@dataclass(frozen=True)
class PilotShape:
    """Devices of each pilot.

    Attributes:
        devices: GPUs, or workers on the CPU.
        workers: on each GPU.
        sharing: workers on each GPU, those of other pilots included.
        threads: CPU threads of a worker.
    """

    devices: int
    workers: int = 1
    sharing: int = 1
    threads: int = 1


def pilot_devices(kind: str, name: str, pilots: int, shape: PilotShape) -> Devices:
    """The devices of so many pilots; one stage has those of one pilot at most."""
    slots, owners = [], []
    for pilot in range(pilots):
        for worker in range(shape.workers):
            for device in range(shape.devices):
                number = pilot * shape.devices + device
                slots.append(f"{number}.{worker}" if worker else str(number))
                owners.append(f"{name}, job {pilot}")
    return Devices(kind, name, tuple(slots), shape.threads, shape.sharing, tuple(owners))


@dataclass(frozen=True)
class RememberedDevices:
    """Devices that a pilot had.

    Attributes:
        name: the model's.
        threads: CPU threads of a worker.
    """

    name: str
    threads: int


_REMEMBERED = TypeAdapter(RememberedDevices)


def workers_on_cpu(cpus: int, jobs: int | None) -> tuple[int, int]:
    """Workers of a pilot without a GPU, and the threads of each, as `benchbench work` has them."""
    workers = jobs or min(cpus, 8)
    return workers, max(1, cpus // workers)


def remembered_devices(store: Path, demand: Sequence[object]) -> RememberedDevices | None:
    """The devices that the last pilot with the same demand had; None before there was one."""
    try:
        return _REMEMBERED.validate_json(_file(store, demand).read_bytes())
    except (OSError, ValidationError):
        return None


def remember_devices(store: Path, demand: Sequence[object], devices: RememberedDevices) -> None:
    """Notes the devices of a pilot for the next plan."""
    path = _file(store, demand)
    path.parent.mkdir(exist_ok=True)
    write_json(path, _REMEMBERED.dump_python(devices))


def _file(store: Path, demand: Sequence[object]) -> Path:
    return store / FOLDER / f"devices-{_short_hash(repr(tuple(demand)))}.json"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
