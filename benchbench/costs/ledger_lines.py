"""Lines of a ledger file: one class per event."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from benchbench.specs.records import RecordPart
from benchbench.store import Store

FOLDER = "ledger"


class LedgerLine(RecordPart):
    """Base of a line.

    Attributes:
        at: seconds since the run began.
        joules: energy of the run until then; None where it is not measured.
    """

    at: float
    joules: float | None = None


class RunLine(LedgerLine):
    """The first line of a file; `at` is above 0 where a job had its devices for a while before the run began.

    Attributes:
        suite: its name.
        time: seconds since the epoch.
        device, unit: as tables have them.
        num_devices: of each slot.
        slots: their names.
        job: number of the job in a scheduler; empty without one.
        queue_seconds: time that the job waited for its devices, which nothing held.
    """

    event: Literal["run"] = "run"
    suite: str
    time: float
    device: str
    unit: str
    num_devices: float
    slots: tuple[str, ...]
    job: str = ""
    queue_seconds: float = 0.0


class SubmittedLine(LedgerLine):
    """Stages submitted to a slot: their kinds by key, and their predicted device-hours where those are known.

    Attributes:
        width: slots that they hold, that one included.
    """

    event: Literal["submitted"] = "submitted"
    slot: str
    stages: dict[str, str]
    predicted: dict[str, float] = Field({})
    width: int = 1


class ReadyLine(LedgerLine):
    """The slot's worker has loaded its libraries and begins its stages."""

    event: Literal["ready"] = "ready"
    slot: str


class FinishedLine(LedgerLine):
    """A stage is finished.

    Attributes:
        seconds, energy_joules: as in its record's cost, without those of an earlier line.
        carried_seconds: as there.
        recorded_seconds: that its worker took to write the record.
        worked_seconds: of its worker, since it was ready for the stages that were submitted with this one.
    """

    event: Literal["finished"] = "finished"
    slot: str
    key: str
    kind: str
    seconds: dict[str, float] = Field({})
    carried_seconds: float = 0.0
    energy_joules: float | None = None
    recorded_seconds: float | None = None
    worked_seconds: float | None = None


class FailedLine(LedgerLine):
    """A stage has failed, or its worker has died."""

    event: Literal["failed", "died"]
    slot: str
    key: str
    kind: str


class AliveLine(LedgerLine):
    """The run goes on; each replaces the one before."""

    event: Literal["alive"] = "alive"


class EndLine(LedgerLine):
    event: Literal["end"] = "end"


Line = Annotated[
    RunLine | SubmittedLine | ReadyLine | FinishedLine | FailedLine | AliveLine | EndLine,
    Field(discriminator="event"),
]
LINE: TypeAdapter[Line] = TypeAdapter(Line)


def ledger_files(store: Store) -> list[Path]:
    return sorted((store.root / FOLDER).glob("*.jsonl"))


def allocations(store: Store, job: str) -> list[RunLine]:
    """The first lines of the ledgers of one job of a scheduler."""
    lines = []
    for path in ledger_files(store):
        with contextlib.suppress(OSError, ValueError), path.open("rb") as stream:
            line = LINE.validate_json(stream.readline())
            if isinstance(line, RunLine) and line.job == job:
                lines.append(line)
    return lines


def read_lines(path: Path) -> list[Line]:
    """The lines of one run, until one that a kill has cut short."""
    lines: list[Line] = []
    with contextlib.suppress(OSError, ValueError), path.open("rb") as stream:
        lines.extend(LINE.validate_json(text) for text in stream)
    return lines
