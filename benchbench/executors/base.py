"""The contract of an executor: it starts workers, passes stages on to them and reports their ends. It decides nothing.

The same records travel between the runner, an executor and its workers, as objects or as JSON lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from benchbench.components import NO_PARAMS, Params
from benchbench.hardware.devices import Devices
from benchbench.hardware.devices import find_devices as find_local_devices
from benchbench.specs.records import Progress, Unit
from benchbench.specs.stages import StageSpec
from benchbench.store import LOGS, Claim

# Name and value in the environment of a process that computes: threads that wait for one another sleep. By default they
# spin for a while and take cores from whatever else is at work, the threads that they wait for among it: on two busy
# cores a step of two threads takes up to eight times as long.
PASSIVE = ("OMP_WAIT_POLICY", "passive")


@dataclass(frozen=True)
class Assignment:
    """A stage as a worker needs it.

    Attributes:
        key, label, spec: of the stage.
        needs: (kind, key) of each stage whose results it reads, by role; soft needs included.
        claim: of the run on the stage, without which nothing of it is written; None where no other run can be there.
        slots: that it holds beside its worker's, where its network is trained on several devices.
    """

    key: str
    label: str
    spec: StageSpec
    needs: dict[str, tuple[str, str]]
    claim: Claim | None = None
    slots: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.spec.kind


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run, the same for every worker.

    Attributes:
        store: folder of the store.
        plugins: plugin files, in the order of loading.
        data_root: folder of downloads.
        checkpoint_seconds: work that a kill may cost.
        commit: of the suite's repository; None outside of one.
        compares: whether the likeness of students and teachers is measured, which a table of pairs shows.
        run: name of the run, which no other has.
        params: of the executor, checked against its component's class of them; they are not sent to workers.
    """

    store: Path
    plugins: tuple[Path, ...]
    data_root: Path
    checkpoint_seconds: float
    commit: str | None
    compares: bool = field(default=False, kw_only=True)
    run: str = field(default="run", kw_only=True)
    params: Params = field(default=NO_PARAMS, kw_only=True)

    def log(self, name: str) -> Path:
        """A file of this run for the output of a process outside of any stage."""
        folder = self.store / LOGS
        folder.mkdir(exist_ok=True)
        return folder / f"{self.run}.{name}.log"


@dataclass(frozen=True)
class WorkerSettings(RunSettings):
    """Settings of one worker.

    Attributes:
        slot: of the devices.
        device: torch device string.
        device_name: for tables.
        threads: CPU threads.
        num_devices: devices that it holds, as the ledger counts them.
        unit: of device-hours.
        exclusive: true where no other worker shares what an energy counter covers.
        board: index of its GPU, as nvidia-smi counts; None on a CPU.
    """

    slot: str
    device: str
    device_name: str
    threads: int
    num_devices: float
    unit: Unit
    exclusive: bool
    board: int | None


def worker_settings(run: RunSettings, devices: Devices, slot: str) -> WorkerSettings:
    """Settings of the worker in one slot."""
    return WorkerSettings(
        **vars(run),
        slot=slot,
        device=devices.kind,
        device_name=devices.name,
        threads=devices.threads,
        num_devices=devices.num_devices,
        unit=devices.unit,
        exclusive=devices.exclusive,
        board=int(slot.partition(".")[0]) if devices.kind == "cuda" else None,
    )


EventName = Literal["started", "ready", "progress", "finished", "failed", "lost", "broken", "misplaced", "died"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a stage.

    Attributes:
        name: "started", "ready" (its libraries are loaded), "progress", "finished", "failed", "lost" (another run has
            taken it over, while this one stood still), "broken" (it
            has failed, and left its worker a device that no stage can use: the worker ends), "misplaced" (it
            changes the state of its process, and is to run alone), or "died": with its worker.
        key: of the stage; of the first one where "ready" is for several side by side.
        slot: of its worker.
        reason: of a stage that failed, broke its device or died.
        progress: of a "progress".
        compared_seconds: time that the likeness of student and teachers took, of a finished stage; no part of its cost.
        recorded_seconds: time that writing the record of a finished stage took.
        worked_seconds: time from the worker's being ready to the end of a finished stage.
        leaves: true where its worker takes no more stages.
    """

    name: EventName
    key: str
    slot: str
    reason: str = ""
    progress: Progress | None = None
    compared_seconds: float = 0.0
    recorded_seconds: float | None = None
    worked_seconds: float | None = None
    leaves: bool = False


WORKER_SETTINGS = TypeAdapter(WorkerSettings)
ASSIGNMENTS = TypeAdapter(list[Assignment])
EVENT = TypeAdapter(Event)


@dataclass(frozen=True)
class DeviceRequest:
    """Devices that a run asks its executor for.

    Attributes:
        device: "auto" (CUDA where there is any), "cpu", "cuda", or "cuda:N".
        jobs: stages side by side, on the CPU or on each GPU; None for the executor's default.
        params: of the executor, checked.
        store: folder of the store, where an executor may remember what devices it had.
    """

    device: str = "auto"
    jobs: int | None = None
    params: Params = NO_PARAMS
    store: Path = Path("runs")


class Executor:
    """Runs stages in the slots of some devices.

    Results travel through the store alone; an event only says that there is something to read.

    Args:
        devices: the slots.
        settings: of the run.
    """

    @classmethod
    def find_devices(cls, request: DeviceRequest) -> Devices:
        """The devices that a run by this executor has, known before the plan is made.

        Raises:
            BenchBenchError: it cannot have such devices.
        """
        return find_local_devices(request.device, request.jobs)

    def __init__(self, devices: Devices, settings: RunSettings):
        self.devices, self.settings = devices, settings

    def submit(self, slot: str, stages: list[Assignment]) -> None:
        """Starts stages in a free slot: one, or several that a worker runs side by side."""
        raise NotImplementedError

    def wait(self, timeout: float, handle: Callable[[Event], None]) -> None:
        """Passes every event since the last call to `handle`, in order; waits up to `timeout` seconds for the first."""
        raise NotImplementedError

    def end(self, slot: str, reason: str) -> None:
        """Ends the worker of a slot at once, whatever it does; each of its open stages "died", for this reason.

        An executor that cannot do so does not define it, and refuses a limit to the time of a stage.
        """
        raise NotImplementedError

    @classmethod
    def is_remote(cls) -> bool:
        """True where its workers may be on other machines, whose files are seen here a while later."""
        return False

    @classmethod
    def can_end(cls) -> bool:
        """True where it can end the worker of a slot."""
        return cls.end is not Executor.end

    def save_and_end(self, seconds: float) -> None:
        """Asks all workers to save a checkpoint and end, and waits for that, so many seconds at most.

        An executor without this loses the work since the last checkpoints.
        """

    def close(self) -> None:
        """Ends all workers, at once."""
        raise NotImplementedError
