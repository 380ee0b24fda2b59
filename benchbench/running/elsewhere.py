"""Stages that other processes on the store run: who has them, how far they are, and how they end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchbench.errors import StoreError, one_line
from benchbench.executors.stage_progress import read_progress
from benchbench.planning.model import Stage
from benchbench.planning.test_part import finished_record, has_dropped_outputs, saw_other_test
from benchbench.running.schedule import Schedule
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.store import KEY_LENGTH, Claims, Store

LOOK_SECONDS = 1.0  # between two looks at the store, and
LOOK_SHARE = 0.05  # at most of the time
AWAIT_SECONDS = 90.0  # for a record that another machine has announced: a network's file system remembers what was not
GLANCES = 50  # at the folders of stages that nobody has claimed, per look

News = Iterator[tuple[Stage, StageElsewhere]]


@dataclass
class _Watched:
    """A stage that another process has.

    Attributes:
        stage: the one.
        holder: who has it, in words.
        reported: time of the last progress that was reported.
        announced: time at which its end was known, and not its record; 0 before.
    """

    stage: Stage
    holder: str
    reported: float = -1.0
    announced: float = 0.0


class Elsewhere:
    """Watches stages of a schedule that other processes run; the schedule is only read.

    Args:
        schedule: whose stages.
        store: with their folders.
        claims: of this run.

    Attributes:
        peer_slots: slots of the other runs on the store.
    """

    def __init__(self, schedule: Schedule, store: Store, claims: Claims):
        self.schedule, self.store, self.claims = schedule, store, claims
        self.peer_slots = 0
        self._began = claims.now()
        self._watched: dict[str, _Watched] = {}
        self._own: set[str] = set()
        self._next_look = 0.0
        self._next_glance = 0

    def own(self, stage: Stage) -> None:
        """A stage is begun by this run: a failure that its folder shows may be this run's own."""
        self._own.add(stage.key)
        self._watched.pop(stage.key, None)

    def add(self, stage: Stage, holder: str) -> StageElsewhere:
        """A stage turns out to be another's."""
        watched = self._watched.setdefault(stage.key, _Watched(stage, holder))
        watched.holder = holder
        self._own.discard(stage.key)
        return StageElsewhere("running", holder)

    def end_of(self, stage: Stage) -> StageElsewhere | None:
        """The end of a stage that nobody holds, or that this run has just claimed; None where it is to be run.

        A record that is announced, and cannot be read yet, makes it a "running" one.
        """
        watched = self._watched.get(stage.key)
        holder = watched.holder if watched else "another process"
        folder = self.store.stage(stage.kind, stage.key)
        announced = folder.record.name in _names(folder.path)
        try:
            record = finished_record(stage, self.store)
        except StoreError as error:
            return self._ended(stage, StageElsewhere("failed", holder, reason=one_line(error)))
        if record is not None:
            return self._ended(stage, StageElsewhere("finished", holder, record=record))
        if announced and not saw_other_test(stage, folder) and not has_dropped_outputs(stage, self.store):
            report = self.add(stage, holder)
            self._watched[stage.key].announced = time.monotonic()
            return report
        reason = self._failure(stage)
        return self._ended(stage, StageElsewhere("failed", holder, reason=reason)) if reason else None

    def look(self, at_once: bool = False) -> News:
        """Changes since the last look; none where that was a moment ago, unless `at_once`."""
        begin = time.monotonic()
        if begin < self._next_look and not at_once:
            return
        names, now = self.claims.names(), self.claims.now()
        self.peer_slots = sum(held.holder.slots for held in self.claims.other_runs(names, now) if held.holder)
        yield from self._found(names, now)
        for watched in list(self._watched.values()):
            report = self._news(watched, names, now)
            if report is not None:
                yield watched.stage, report
        yield from self._glances(names)
        end = time.monotonic()
        self._next_look = end + max(LOOK_SECONDS, (end - begin) / LOOK_SHARE)

    def _found(self, names: set[str], now: float) -> News:
        """Stages that could be run here, and are another's."""
        for stage in self.schedule.ready():
            if claim_name(stage) in names:
                held = self.claims.look(self._claims_folder(stage), now)
                if held is not None and held.state == "live" and held.holder != self.claims.holder:
                    yield stage, self.add(stage, str(held))

    def _news(self, watched: _Watched, names: set[str], now: float) -> StageElsewhere | None:
        stage = watched.stage
        held = self.claims.look(self._claims_folder(stage), now) if claim_name(stage) in names else None
        if held is not None and held.state == "live":
            watched.holder = str(held)
            return self._progress(watched)
        if (ended := self.end_of(stage)) is not None and ended.status != "running":
            return ended
        if held is None or watched.announced:  # a stage without claims is finished
            watched.announced = watched.announced or time.monotonic()
            if time.monotonic() - watched.announced < AWAIT_SECONDS:
                return None
        return self._ended(stage, StageElsewhere("released", watched.holder))

    def _progress(self, watched: _Watched) -> StageElsewhere | None:
        report = read_progress(self.store.stage(watched.stage.kind, watched.stage.key))
        if report is None or report.progress is None or report.at == watched.reported:
            return None
        watched.reported = report.at
        return StageElsewhere("running", watched.holder, report.progress)

    def _glances(self, names: set[str]) -> News:
        """Ends of stages that another has claimed and finished between two looks; some at a time."""
        ready = [stage for stage in self.schedule.ready() if claim_name(stage) not in names]
        start = self._next_glance if self._next_glance < len(ready) else 0
        self._next_glance = start + GLANCES
        for stage in ready[start : start + GLANCES]:
            if self.store.stage(stage.kind, stage.key).record.exists():
                ended = self.end_of(stage)
                if ended is not None:
                    yield stage, ended

    def _failure(self, stage: Stage) -> str:
        """The reason for which another process has failed with a stage since this run began; empty for none."""
        if stage.key in self._own:
            return ""
        folder = self.store.stage(stage.kind, stage.key)
        with contextlib.suppress(OSError):
            if os.stat(folder.state).st_mtime > self._began:
                state = folder.read_state()
                return (state.reason or "it failed") if state.status == "failed" else ""
        return ""

    def _ended(self, stage: Stage, report: StageElsewhere) -> StageElsewhere:
        self._watched.pop(stage.key, None)
        return report

    def _claims_folder(self, stage: Stage) -> Path:
        return self.claims.root / claim_name(stage)


def claim_name(stage: Stage) -> str:
    """The name of the claim on a stage."""
    return f"{stage.kind}-{stage.key[:KEY_LENGTH]}"


def _names(folder: Path) -> set[str]:
    """Names in a folder by a fresh look."""
    with contextlib.suppress(FileNotFoundError):
        return set(os.listdir(folder))
    return set()
