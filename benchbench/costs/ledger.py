"""The ledger of a suite's runs: one file per run, which only grows; `ledger_summary` adds them up.

`runs/ledger/RUN.jsonl` has one line per event, with the seconds since the run began: stages submitted to a slot and
the hours that they were predicted to take, the start of a slot's worker, and the end of each stage, with the sections
of a finished one's time. A line is written when its event happens, so that a kill loses none; a run without an "end"
ended with its last line.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence

from benchbench.costs.ledger_lines import (
    FOLDER,
    AliveLine,
    EndLine,
    FailedLine,
    FinishedLine,
    Line,
    ReadyLine,
    RunLine,
    SubmittedLine,
)
from benchbench.errors import StoreError, one_line
from benchbench.hardware.devices import GRANTED_VARIABLE, SUBMITTED_VARIABLE
from benchbench.hardware.energy import counter_of
from benchbench.planning.model import Plan, Stage
from benchbench.specs.records import Cost
from benchbench.store import Store
from benchbench.store.processes import this_process

# A run that is killed may have lived this much longer than its file shows.
ALIVE_SECONDS = 0.5


def new_run() -> str:
    """The name of a run: the time, and what makes it the only one."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"


def held_seconds() -> float:
    """Time for which the job of this process has had its devices; 0 where no executor has told it."""
    granted = _time_of(GRANTED_VARIABLE)
    return 0.0 if granted is None else max(0.0, time.time() - granted)


def queue_seconds() -> float:
    """Time from the submission of this process's job until it had its devices; 0 where no executor has told it."""
    submitted, granted = _time_of(SUBMITTED_VARIABLE), _time_of(GRANTED_VARIABLE)
    return 0.0 if submitted is None or granted is None else round(max(0.0, granted - submitted), 3)


def _time_of(variable: str) -> float | None:
    with contextlib.suppress(KeyError, ValueError):
        return float(os.environ[variable])
    return None


class RunLedger:
    """Writes the file of one run, by its name.

    Raises:
        StoreError: it cannot be made.
    """

    def __init__(self, store: Store, plan: Plan, run: str | None = None):
        folder = store.root / FOLDER
        try:
            folder.mkdir(exist_ok=True)
            self._file = (folder / f"{run or new_run()}.jsonl").open("xb", buffering=0)
        except OSError as error:
            raise StoreError(
                f"cannot write the ledger in {folder} ({one_line(error)}); use another --store DIR"
            ) from None
        self._begin = time.monotonic() - held_seconds()
        self._last_line_at = 0.0
        self._alive_offset: int | None = None
        devices = plan.devices
        self._counter = counter_of(devices)
        self._write(
            RunLine(
                at=self._seconds(),
                suite=plan.suite.name,
                time=time.time(),
                device=devices.name,
                unit=devices.unit,
                num_devices=devices.num_devices,
                slots=devices.slots,
                job=this_process().job,
                queue_seconds=queue_seconds(),
            )
        )

    def _seconds(self) -> float:
        return round(time.monotonic() - self._begin, 4)

    def _write(self, line: Line) -> None:
        if self._counter is not None and (joules := self._counter.joules()) is not None:
            line = line.model_copy(update={"joules": round(joules, 3)})
        if self._alive_offset is not None:  # a long run must not fill its file with these
            self._file.seek(self._alive_offset)
            self._file.truncate()
        self._alive_offset = self._file.tell() if isinstance(line, AliveLine) else None
        self._file.write(line.model_dump_json(exclude_none=True).encode() + b"\n")
        self._last_line_at = line.at

    def submitted(self, slot: str, stages: Sequence[Stage], hours: Mapping[str, float | None]) -> None:
        """Stages are submitted to a slot; `hours`: predicted for each stage, by key, where they are known."""
        predicted = {stage.key: value for stage in stages if (value := hours.get(stage.key)) is not None}
        kinds = {stage.key: stage.kind for stage in stages}
        width = max(stage.devices for stage in stages)
        self._write(SubmittedLine(at=self._seconds(), slot=slot, stages=kinds, predicted=predicted, width=width))

    def ready(self, slot: str) -> None:
        """The slot's worker has loaded its libraries and begins its stages."""
        self._write(ReadyLine(at=self._seconds(), slot=slot))

    def finished(
        self,
        slot: str,
        stage: Stage,
        cost: Cost,
        recorded_seconds: float | None = None,
        worked_seconds: float | None = None,
    ) -> None:
        """A stage is finished.

        Args:
            slot: where it ran.
            stage: the one.
            cost: of its record.
            recorded_seconds, worked_seconds: as in `FinishedLine`.
        """
        line = FinishedLine(
            at=self._seconds(),
            slot=slot,
            key=stage.key,
            kind=stage.kind,
            seconds={name: value - cost.earlier_seconds.get(name, 0.0) for name, value in cost.seconds.items()},
            carried_seconds=cost.carried_seconds,
            energy_joules=_new_joules(cost),
            recorded_seconds=recorded_seconds,
            worked_seconds=worked_seconds,
        )
        self._write(line)

    def failed(self, slot: str, stage: Stage) -> None:
        """A stage has failed, in a worker that lives on."""
        self._write(FailedLine(event="failed", at=self._seconds(), slot=slot, key=stage.key, kind=stage.kind))

    def died(self, slot: str, stage: Stage) -> None:
        """The worker of a stage has died."""
        self._write(FailedLine(event="died", at=self._seconds(), slot=slot, key=stage.key, kind=stage.kind))

    def alive(self) -> None:
        """Notes that the run goes on, unless another line has just been written; replaces the last such note."""
        if time.monotonic() - self._begin - self._last_line_at > ALIVE_SECONDS / 2:
            self._write(AliveLine(at=self._seconds()))

    def close(self) -> None:
        self._write(EndLine(at=self._seconds()))
        os.fsync(self._file.fileno())
        self._file.close()


def _new_joules(cost: Cost) -> float | None:
    """The energy that no earlier line has."""
    if cost.energy_joules is None or cost.earlier_joules is None:
        return None
    return cost.energy_joules - cost.earlier_joules
