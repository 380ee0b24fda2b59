"""Where every second of a suite's runs went: a file a run, which only grows, and the account that it makes.

`runs/ledger/RUN.jsonl` has a line an event, with the seconds since the run began: what was given to which slot and what
it was predicted to take, when its worker was ready, how each stage ended and (of a finished one) what its seconds went
to. A line is written when the event happens, so that a kill loses none; where a run has no `end`, it ended with its
last line.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.hardware.energy import counter_of
from benchbench.plan.model import Plan, Stage
from benchbench.store import Store

FOLDER = "ledger"
# A run that is killed may have lived this much longer than its file says.
ALIVE_SECONDS = 0.5
# Of a finished stage.
PARTS = ("seconds", "carried_seconds", "energy_joules", "recorded_seconds", "worked_seconds")


class RunLedger:
    """Writes the file of one run."""

    def __init__(self, store: Store, plan: Plan):
        folder = store.root / FOLDER
        folder.mkdir(exist_ok=True)
        name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}.jsonl"
        self._file = (folder / name).open("xb", buffering=0)
        self._begun = time.monotonic()
        self._last = 0.0
        self._alive_at: int | None = None
        devices = plan.devices
        self._counter = counter_of(devices)
        self.write(
            "run",
            suite=plan.suite.name,
            time=time.time(),
            device=devices.name,
            unit=devices.unit,
            held=devices.num_devices,
            slots=list(devices.slots),
        )

    def write(self, event: str, **more: Any) -> None:
        at = round(time.monotonic() - self._begun, 4)
        if self._counter is not None and (joules := self._counter.joules()) is not None:
            more["joules"] = round(joules, 3)
        if self._alive_at is not None:  # a long run must not fill its file with these
            self._file.seek(self._alive_at)
            self._file.truncate()
        self._alive_at = self._file.tell() if event == "alive" else None
        self._file.write((json.dumps({"event": event, "at": at, **more}) + "\n").encode())
        self._last = at

    def submitted(self, slot: str, stages: Sequence[Stage], hours: Mapping[str, float | None]) -> None:
        """A slot is given stages, with the device-hours that they are predicted to take, where those are known."""
        predicted = {stage.key: value for stage in stages if (value := hours.get(stage.key)) is not None}
        more = {"predicted": predicted} if predicted else {}
        self.write("submitted", slot=slot, stages={stage.key: stage.kind for stage in stages}, **more)

    def ready(self, slot: str) -> None:
        """The slot's worker has its libraries, and goes to work."""
        self.write("ready", slot=slot)

    def ended(
        self,
        how: str,
        slot: str,
        stage: Stage,
        record: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """A stage has "finished", "failed" or "died"; of a finished one the record says what its seconds went to.

        Args:
            details: what the worker says besides: `recorded_seconds`, which it took to write the record, and
                `worked_seconds`, since it was ready for what the slot was given.
        """
        known = {**(record or {}).get("cost", {}), **(details or {})}
        parts = {name: known[name] for name in PARTS if name in known}
        self.write(how, slot=slot, key=stage.key, kind=stage.kind, **parts)

    def alive(self) -> None:
        """Says that the run goes on, where it has not just said something else; in place of the last time it did."""
        if time.monotonic() - self._begun - self._last > ALIVE_SECONDS / 2:
            self.write("alive")

    def close(self) -> None:
        self.write("end")
        os.fsync(self._file.fileno())
        self._file.close()


@dataclass
class Spent:
    """Device-hours of runs: devices held x wall-clock.

    Attributes:
        sections: of finished stages, by (kind of stage, what the time went to).
        start: workers that started and loaded their libraries.
        idle: slots without work, waiting for the stages that theirs need, or for the runner to hear of them.
        failed: attempts that failed, or did not fit into memory beside others and were made again.
        killed: attempts that were killed, without what their stages went on from.
        removed: finished stages that the plan no longer has.
        residual: what workers spent between a stage's beginning and its end on none of these.
        total: measured: slots x devices held by each x wall-clock of the runs.
        joules: energy of the runs; None where one of them was not measured.
        stage_joules: energy of finished stages, by kind, attempts that they went on from included; None where one was
            not measured.
        units, devices: what the runs were on.
        runs: how many there were.
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


def spent(store: Store, suite: str, known: Iterable[str]) -> Spent:
    """All runs of a suite in a store.

    Args:
        store: where they wrote their ledgers.
        suite: its name.
        known: keys of the stages that it has now.
    """
    account, keys = Spent(), set(known)
    for path in sorted((store.root / FOLDER).glob("*.jsonl")):
        lines = list(_lines(path))
        if lines and lines[0].get("event") == "run" and lines[0].get("suite") == suite:
            _Run(lines, keys, account).book()
    if account.killed < 0:  # what was gone on with proves that killed runs lived on after their last line
        account.total -= account.killed
        account.killed = 0.0
    return account


def predictions(store: Store) -> dict[str, float]:
    """Device-hours that finished stages of any suite were predicted to take before they began, by key."""
    found: dict[str, float] = {}
    for path in sorted((store.root / FOLDER).glob("*.jsonl")):
        given: dict[str, float] = {}
        for line in _lines(path):
            hours = line.get("predicted")
            if line.get("event") == "submitted" and isinstance(hours, dict):
                given |= {key: value for key, value in hours.items() if isinstance(value, int | float)}
            elif line.get("event") == "finished" and line.get("key") in given:
                found[line["key"]] = given[line["key"]]
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The events of one run; a line that a kill has cut short ends them."""
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("at"), int | float):
                    yield event
    except (OSError, ValueError):
        return


@dataclass
class _Unit:
    """What a slot was given at once.

    Attributes:
        since: when it was given, or when its worker was last ready.
        open: keys of the stages that have not ended.
        booked: seconds that its finished stages took, since they were begun or gone on with, and to write records.
        worked: seconds from the worker's being ready until it said that the last of them was finished.
        broken: whether one failed, or the whole was begun anew.
    """

    since: float
    open: dict[str, str]
    was_ready: bool = False
    booked: float = 0.0
    worked: float | None = None
    broken: bool = False


class _Run:
    def __init__(self, lines: list[dict[str, Any]], known: set[str], account: Spent):
        self.head, self.lines, self.known, self.account = lines[0], lines, known, account
        self.hours = self.head["held"] / 3600
        self.units: dict[str, _Unit] = {}
        self.busy = 0.0

    def book(self) -> None:
        account, end = self.account, self.lines[-1]["at"]
        for line in self.lines:
            event, at, slot = line["event"], line["at"], line.get("slot", "")
            if event == "submitted":
                self.units[slot] = _Unit(at, dict(line["stages"]))
            elif event == "ready" and slot in self.units:
                self._ready(self.units[slot], at)
            elif event in ("finished", "failed", "died") and slot in self.units:
                self._ended(slot, line)
        for slot in list(self.units):  # the run was killed
            self._close(slot, end, killed=True)
        account.idle += (len(self.head["slots"]) * end - self.busy) * self.hours
        account.total += len(self.head["slots"]) * end * self.hours
        used = self.lines[-1].get("joules")
        account.joules = None if account.joules is None or used is None else account.joules + used
        account.units.add(self.head["unit"])
        account.devices.add(self.head["device"])
        account.runs += 1

    def _ready(self, unit: _Unit, at: float) -> None:
        if unit.was_ready:  # a second attempt, of what did not fit into memory the first time
            unit.broken = True
            return
        self.account.start += (at - unit.since) * self.hours
        self.busy += at - unit.since
        unit.since, unit.was_ready = at, True

    def _ended(self, slot: str, line: dict[str, Any]) -> None:
        unit = self.units[slot]
        kind = unit.open.pop(line["key"], line["kind"])
        if line["event"] == "finished":
            seconds, carried = dict(line.get("seconds", {})), line.get("carried_seconds", 0.0)
            if "recorded_seconds" in line:
                seconds["record"] = line["recorded_seconds"]
            unit.worked = line.get("worked_seconds")
            for name, value in seconds.items():
                if line["key"] in self.known:
                    self.account.sections[kind, name] += value * self.hours
                else:
                    self.account.removed += value * self.hours
            self._energy(kind, line.get("energy_joules"))
            unit.booked += sum(seconds.values()) - carried
            self.account.killed -= carried * self.hours  # what a killed attempt had done is booked here
        elif line["event"] == "failed":
            unit.broken = True
        if not unit.open or line["event"] == "died":
            self._close(slot, line["at"], killed=line["event"] == "died")

    def _energy(self, kind: str, joules: float | None) -> None:
        known = self.account.stage_joules.get(kind, 0.0)
        self.account.stage_joules[kind] = None if known is None or joules is None else known + joules

    def _close(self, slot: str, at: float, killed: bool) -> None:
        unit = self.units.pop(slot)
        took = at - unit.since
        if not killed and not unit.broken and unit.worked is not None:
            # The runner's clock runs on until the worker's word has reached it, which on a busy machine takes a while.
            took = min(took, unit.worked)
        self.busy += took
        rest = (took - unit.booked) * self.hours
        if killed:
            self.account.killed += rest
        elif unit.broken:
            self.account.failed += rest
        else:
            self.account.residual += rest
