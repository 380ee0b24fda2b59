"""The summary of a suite's runs: the device-hours of their ledgers, by stage and by section of their time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchbench.costs.ledger_lines import (
    FailedLine,
    FinishedLine,
    Line,
    ReadyLine,
    RunLine,
    SubmittedLine,
    ledger_files,
    read_lines,
)
from benchbench.store import Store


@dataclass
class LedgerSummary:
    """Device-hours of runs: number of devices x wall-clock.

    Attributes:
        sections: of finished stages, by (kind of stage, section of its time).
        start: workers that started and loaded their libraries.
        idle: slots without work, waiting for the stages that theirs need, or for the runner to read an event.
        failed: attempts that failed, or did not fit into memory beside others and were made again, without the work
            that their stages went on from.
        killed: attempts that were killed, without the work that their stages went on from.
        removed: finished stages that the plan no longer has.
        residual: time of workers between a stage's beginning and its end that is none of these.
        total: measured: slots x devices of each x wall-clock of the runs.
        joules: energy of the runs; None where one of them was not measured.
        stage_joules: energy of finished stages, by kind, attempts that they went on from included; None where one was
            not measured.
        units, devices: units of the hours, and names of the devices.
        runs: number of runs.
        queue: hours that jobs of a scheduler waited for their devices; nothing is held then, and they are in no total.
    """

    sections: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    start: float = 0.0
    idle: float = 0.0
    failed: float = 0.0
    killed: float = 0.0
    removed: float = 0.0
    residual: float = 0.0
    total: float = 0.0
    joules: float | None = 0.0
    stage_joules: dict[str, float | None] = field(default_factory=dict)
    units: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    runs: int = 0
    queue: float = 0.0


def summarize_ledger(store: Store, suite: str, keys: Iterable[str]) -> LedgerSummary:
    """Device-hours of all runs of a suite in a store.

    Args:
        store: where they wrote their ledgers.
        suite: its name.
        keys: of the stages that it has now.
    """
    summary, planned, losses = LedgerSummary(), set(keys), _Losses()
    for path in ledger_files(store):
        lines = read_lines(path)
        if lines and isinstance(head := lines[0], RunLine) and head.suite == suite:
            _Run(head, planned, summary, losses).add(lines)
    losses.settle(summary)
    return summary


def predictions(store: Store) -> dict[str, float]:
    """Device-hours that finished stages of any suite were predicted to take before they began, by key."""
    hours: dict[str, float] = {}
    for path in ledger_files(store):
        submitted: dict[str, float] = {}
        for line in read_lines(path):
            if isinstance(line, SubmittedLine):
                submitted |= line.predicted
            elif isinstance(line, FinishedLine) and line.key in submitted:
                hours[line.key] = submitted[line.key]
    return hours


@dataclass
class _Loss:
    """Device-hours of an attempt at some stages that failed or was killed, less the work that they went on from."""

    line: Literal["failed", "killed"]
    keys: set[str]
    hours: float


@dataclass
class _Losses:
    """Losses of all runs of a suite; hours that a later run went on from are none after all.

    Attributes:
        attempts: those that failed or were killed, in order.
        carried: device-hours that a finished stage went on from, by key, each time.
    """

    attempts: list[_Loss] = field(default_factory=list)
    carried: list[tuple[str, float]] = field(default_factory=list)

    def settle(self, summary: LedgerSummary) -> None:
        """Puts into a summary what was lost for good."""
        for key, hours in self.carried:
            # More than is known proves that a killed run lived on after its last line.
            summary.total += self._taken_off(key, hours)
        summary.failed = sum(loss.hours for loss in self.attempts if loss.line == "failed")
        summary.killed = sum(loss.hours for loss in self.attempts if loss.line == "killed")

    def _taken_off(self, key: str, hours: float) -> float:
        """Takes hours off a stage's attempts, the last one first; gives those that are left over."""
        for loss in reversed(self.attempts):
            if key in loss.keys:
                part = max(0.0, min(loss.hours, hours))
                loss.hours -= part
                hours -= part
        return hours


@dataclass
class _Submission:
    """Stages that were submitted to a slot at once.

    Attributes:
        since: time of submission, or when the worker was last ready.
        stages: kinds of the stages that have not ended, by key.
        ready: whether the worker was ready once.
        counted: seconds of its finished stages since they began or went on from a checkpoint, records included.
        worked: seconds from the worker's being ready until it reported that the last of them was finished.
        broken: those that failed, or began anew.
        width: slots that they hold.
    """

    since: float
    stages: dict[str, str]
    width: int = 1
    ready: bool = False
    counted: float = 0.0
    worked: float | None = None
    broken: set[str] = field(default_factory=set)


class _Run:
    """Adds one run's lines to a summary."""

    def __init__(self, head: RunLine, planned: set[str], summary: LedgerSummary, losses: _Losses):
        self.head, self.planned, self.summary, self.losses = head, planned, summary, losses
        self.hours = head.num_devices / 3600
        self.slots: dict[str, _Submission] = {}
        self.busy = 0.0

    def add(self, lines: Sequence[Line]) -> None:
        for line in lines:
            if isinstance(line, SubmittedLine):
                self.slots[line.slot] = _Submission(line.at, dict(line.stages), line.width)
            elif isinstance(line, ReadyLine) and line.slot in self.slots:
                self._ready(self.slots[line.slot], line.at)
            elif isinstance(line, FinishedLine) and line.slot in self.slots:
                self._finished(self.slots[line.slot], line)
            elif isinstance(line, FailedLine) and line.slot in self.slots:
                self._failed(self.slots[line.slot], line)
        self._end(lines[-1])

    def _end(self, last: Line) -> None:
        summary = self.summary
        for slot in list(self.slots):  # the run was killed
            self._close(slot, last.at, killed=True)
        started = len(self.head.slots) * self.head.at
        summary.start += started * self.hours
        self.busy += started
        summary.idle += (len(self.head.slots) * last.at - self.busy) * self.hours
        summary.total += len(self.head.slots) * last.at * self.hours
        summary.joules = None if summary.joules is None or last.joules is None else summary.joules + last.joules
        summary.units.add(self.head.unit)
        summary.devices.add(self.head.device)
        summary.runs += 1
        summary.queue += self.head.queue_seconds / 3600

    def _ready(self, submission: _Submission, at: float) -> None:
        if submission.ready:  # a second attempt, of stages that did not fit into memory the first time
            submission.broken |= submission.stages.keys()
            return
        self.summary.start += (at - submission.since) * submission.width * self.hours
        self.busy += (at - submission.since) * submission.width
        submission.since, submission.ready = at, True

    def _finished(self, submission: _Submission, line: FinishedLine) -> None:
        kind, hours = submission.stages.pop(line.key, line.kind), submission.width * self.hours
        record = {} if line.recorded_seconds is None else {"record": line.recorded_seconds}
        seconds = line.seconds | record
        for section, value in seconds.items():
            if line.key in self.planned:
                self.summary.sections[kind, section] += value * hours
            else:
                self.summary.removed += value * hours
        self._add_energy(kind, line.energy_joules)
        submission.worked = line.worked_seconds
        submission.counted += sum(seconds.values()) - line.carried_seconds
        self.losses.carried.append((line.key, line.carried_seconds * hours))
        if not submission.stages:
            self._close(line.slot, line.at)

    def _failed(self, submission: _Submission, line: FailedLine) -> None:
        submission.stages.pop(line.key, None)
        submission.broken.add(line.key)
        if line.event == "died" or not submission.stages:
            self._close(line.slot, line.at, killed=line.event == "died")

    def _add_energy(self, kind: str, joules: float | None) -> None:
        known = self.summary.stage_joules.get(kind, 0.0)
        self.summary.stage_joules[kind] = None if known is None or joules is None else known + joules

    def _close(self, slot: str, at: float, killed: bool = False) -> None:
        submission = self.slots.pop(slot)
        seconds = at - submission.since
        if not killed and not submission.broken and submission.worked is not None:
            # The runner's clock runs on until the worker's event has reached it, which takes a while on a busy machine.
            seconds = min(seconds, submission.worked)
        self.busy += seconds * submission.width
        rest = (seconds - submission.counted) * submission.width * self.hours
        if killed:
            self.losses.attempts.append(_Loss("killed", submission.broken | submission.stages.keys(), rest))
        elif submission.broken:
            self.losses.attempts.append(_Loss("failed", submission.broken, rest))
        else:
            self.summary.residual += rest
