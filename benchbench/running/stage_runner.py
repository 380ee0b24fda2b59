"""The stages of a schedule on the slots of an executor, beside other runs on the same store."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from benchbench.costs.ledger import RunLedger
from benchbench.costs.prediction import Predictor
from benchbench.errors import ClaimLostError, StoreError, one_line
from benchbench.executors.base import Assignment, Event, Executor
from benchbench.executors.stage_progress import duration
from benchbench.planning.model import Stage
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.running.elsewhere import AWAIT_SECONDS, Elsewhere
from benchbench.running.heartbeats import Heartbeats
from benchbench.running.interrupts import RememberedInterrupts
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.running.schedule import Schedule
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.records import StageRecord
from benchbench.specs.stages import DiffusionSpec, OutputsSpec, SynthesisSpec, TrainingSpec
from benchbench.store import Claim, Store
from benchbench.store.fencing import fenced

POLL_SECONDS = 0.5
# Stages that go on from a checkpoint, and so may begin though they will not end in time.
RESUMABLE = (TrainingSpec, OutputsSpec, SynthesisSpec, DiffusionSpec)
SHORTEST = 120.0  # seconds that are left for such a stage to be worth its start
# Processes that ended, machines with them, while they had a stage, and did not come to its next checkpoint: after so
# many it is run without others, one of which may have been their end, and after so many it fails.
DEATHS_TOGETHER, MOST_DEATHS = 2, 5


class Reports(NamedTuple):
    """The receivers of a run's events: the hooks of plugins, and its ledger."""

    hooks: LifecycleHooks
    ledger: RunLedger


class Limits:
    """Limits to time.

    Args:
        stage_timeout: seconds after which the worker of a stage is ended; None for no limit.
        max_seconds: of the whole run, from now on; None for no limit.
    """

    def __init__(self, stage_timeout: float | None = None, max_seconds: float | None = None):
        self.stage_timeout = stage_timeout or math.inf
        self.end = time.monotonic() + (max_seconds if max_seconds is not None else math.inf)

    @property
    def seconds_left(self) -> float:
        return self.end - time.monotonic()


@dataclass
class _Unit:
    """Stages that a slot was given at once.

    Attributes:
        open_keys: of those that have not ended.
        side_by_side: true where there were several.
        slots: all that they hold.
        begun: time at which it was, and then at which the worker was ready for them.
    """

    open_keys: set[str]
    side_by_side: bool
    slots: list[str]
    begun: float = field(default_factory=time.monotonic)


class StageRunner:
    """Runs the stages of a schedule that no other run on the store has.

    Args:
        schedule: with the stages.
        store: folder of results.
        reports: where it says what happens.
        keeper: of the claims of this run.
        executor: that runs stages in its slots.

    Attributes:
        limits: to the time of the run.
    """

    def __init__(self, schedule: Schedule, store: Store, reports: Reports, keeper: ClaimKeeper, executor: Executor):
        self.schedule, self.store, self.keeper, self.executor = schedule, store, keeper, executor
        self.hooks, self.ledger = reports
        self.plan = schedule.plan
        self.limits = Limits()
        self.free_slots = list(self.plan.devices.slots)
        self.units: dict[str, _Unit] = {}
        self.predictor = Predictor(self.plan, store)
        self.heartbeats = Heartbeats()
        self.elsewhere = Elsewhere(schedule, store, keeper.claims)
        self._awaited: dict[str, tuple[Event, float]] = {}

    def to_end(self, interrupts: RememberedInterrupts) -> None:
        """Runs until all stages have ended, here or elsewhere, or the time is up."""

        def handle(event: Event) -> None:
            self._handle(event)
            interrupts.check()

        for key in self.schedule.waiting:  # from the store as it is now; the others when their turn comes
            self.predictor.hours(key)
        while self.schedule.waiting or self.schedule.running or self.schedule.elsewhere:
            interrupts.check()
            if self.limits.seconds_left <= 0:
                self.schedule.outcome.stopped = True
                return
            for stage, news in self.elsewhere.look():
                self._hear(stage, news)
            self._fail_blocked()
            self._submit()
            if self.schedule.running:
                self.executor.wait(min(POLL_SECONDS, max(0.0, self.limits.seconds_left)), handle)
            elif self._is_too_late():
                self.schedule.outcome.stopped = True
                return
            elif self.schedule.waiting or self.schedule.elsewhere:
                time.sleep(POLL_SECONDS)
            self._watch()
            self.ledger.alive()

    def _is_too_late(self) -> bool:
        """True where stages could be run here, and none of them fits into the time that is left."""
        limited = self.limits.end < math.inf and bool(self.free_slots) and not self.schedule.elsewhere
        return limited and bool(self.schedule.ready())

    def _watch(self) -> None:
        """Reports silent stages, ends workers of stages over their limit of time or lost, and reads late records."""
        for key, seconds in self.heartbeats.notices():
            self.hooks.stage_silent(self.schedule.running[key], seconds)
        for slot, unit in self.units.items():
            if not unit.open_keys or unit.begun == math.inf:
                continue
            losses = [self.keeper.loss(key) for key in unit.open_keys]
            if time.monotonic() - unit.begun > self.limits.stage_timeout:
                unit.begun = math.inf
                self.executor.end(slot, self._overdue(min(unit.open_keys)))
            elif all(losses) and self.executor.can_end():
                unit.begun = math.inf
                self.executor.end(slot, losses[0])
        for event, _ in list(self._awaited.values()):
            self._finished(self.plan.stages[event.key], event)

    def _overdue(self, key: str) -> str:
        limit = f"not done after {duration(self.limits.stage_timeout)} (--stage-timeout)"
        try:
            silence = self.heartbeats.silence(key)
        except KeyError:
            return f"{limit}: its worker process had not begun with it"
        if not self.heartbeats.has_moved(key):
            return f"{limit}, without a single step"
        return f"{limit}, with its last step {duration(silence)} before"

    def _fail_blocked(self) -> None:
        for stage, needed in self.schedule.blocked():
            self._fail(stage, f"needs '{needed.label}', which failed")

    def _submit(self) -> None:
        """Starts all that can be; what others have claimed meanwhile makes room for more."""
        refused = True
        while refused and self.free_slots:
            refused = False
            for unit in self._in_time(self._units()):
                slots = self.plan.devices.together(self.free_slots, unit[0].devices)
                if not slots:  # a stage on several waits until as many are free, and those after it let it
                    break
                claimed = [stage for stage in unit if self._claim(stage)]
                refused |= len(claimed) < len(unit)
                if claimed:
                    self._start(slots, claimed)

    def _units(self) -> list[list[Stage]]:
        free, slots = len(self.free_slots), len(self.plan.devices.slots) + self.elsewhere.peer_slots
        # Without a limit of time the first ones are started, and none else is looked at.
        most = free if self.limits.end == math.inf else None
        return self.schedule.units(free, slots, most)

    def _in_time(self, units: list[list[Stage]]) -> list[list[Stage]]:
        """Those that will end before the time is up; where none does, those that can go on from a checkpoint."""
        left = self.limits.seconds_left
        fitting = [unit for unit in units if self._seconds(unit) <= left]
        if fitting or left < SHORTEST:
            return fitting
        return [unit for unit in units if all(isinstance(stage.spec, RESUMABLE) for stage in unit)]

    def _seconds(self, unit: list[Stage]) -> float:
        """Predicted time of stages side by side; those of which nothing is known count as short."""
        hours = sum((self.predictor.hours(stage.key) or 0.0) / stage.devices for stage in unit)
        return 3600 * hours / self.plan.devices.num_devices

    def _claim(self, stage: Stage) -> bool:
        """Takes a stage for this run, unless another has it, or has ended it since."""
        claim = self.keeper.take(stage.kind, stage.key)
        if not isinstance(claim, Claim):
            self._hear(stage, self.elsewhere.add(stage, str(claim)))
            return False
        with contextlib.suppress(OSError):  # which its worker will report
            # Made, and not only looked at: a network's file system may remember for a while that there was none.
            self.store.stage(stage.kind, stage.key).path.mkdir(parents=True, exist_ok=True)
        if (news := self.elsewhere.end_of(stage)) is None:
            return self._is_harmless(stage, claim)
        self.keeper.give_back(stage.key, finished=news.status != "failed")
        self._hear(stage, news)
        return False

    def _is_harmless(self, stage: Stage, claim: Claim) -> bool:
        """False for a stage that may end every process that tries it: it is put back, to be run alone, or fails.

        A run that is started after it has failed tries it again.
        """
        checkpoint, saved = self.store.stage(stage.kind, stage.key).checkpoint, 0.0
        with contextlib.suppress(FileNotFoundError):
            saved = checkpoint.stat().st_mtime
        deaths = self.keeper.claims.deaths(claim, saved)
        if deaths < DEATHS_TOGETHER or (self.schedule.is_alone(stage) and deaths < MOST_DEATHS):
            return True
        if deaths < MOST_DEATHS:
            self.schedule.retry_alone(stage)
            self.keeper.give_back(stage.key, finished=False)
            return False
        reason = f"{deaths} processes have ended while they had it, and none came to another checkpoint"
        reason = f"{reason}; run the same command again to try it again"
        self._write_failure(stage, reason)
        self.keeper.give_back(stage.key, finished=True)  # with the claims of those that have ended
        self._fail(stage, reason)
        return False

    def _start(self, slots: list[str], unit: list[Stage]) -> None:
        self.free_slots = [slot for slot in self.free_slots if slot not in slots]
        slot, *others = slots
        for stage in unit:
            self.elsewhere.own(stage)
        self.units[slot] = _Unit({stage.key for stage in unit}, len(unit) > 1, slots)
        self.schedule.start(unit)
        self.ledger.submitted(slot, unit, {stage.key: self.predictor.hours(stage.key) for stage in unit})
        self.executor.submit(slot, [self._assignment(stage, others) for stage in unit])

    def _assignment(self, stage: Stage, slots: list[str]) -> Assignment:
        needs = {role: (self.plan.stages[key].kind, key) for role, key in (stage.needs | stage.soft_needs).items()}
        return Assignment(stage.key, stage.label, stage.spec, needs, self.keeper.claim(stage.key), tuple(slots))

    def _hear(self, stage: Stage, news: StageElsewhere) -> None:
        """Takes note of what another process does with a stage."""
        match news.status:
            case "running":
                if stage.key not in self.schedule.elsewhere:
                    self.schedule.leave_to_others(stage)
            case "finished":
                self.schedule.finish_elsewhere(stage)
            case "failed":
                self.schedule.fail(stage, news.reason)
            case "released":
                self.schedule.wait_again(stage)
        self.hooks.stage_elsewhere(stage, news)

    def _handle(self, event: Event) -> None:
        stage = self.schedule.running.get(event.key)
        if stage is None:
            return
        match event.name:
            case "started":
                self.heartbeats.start(stage.key)
                self.hooks.stage_started(stage, event.slot)
            case "ready":
                self.units[event.slot].begun = time.monotonic()
                self.ledger.ready(event.slot)
            case "progress":
                self.ledger.alive()  # an executor may stay in `wait` for a whole stage
                self.heartbeats.step(stage.key)
                if event.progress is not None:
                    self.hooks.progress(stage, event.progress)
            case "finished":
                self._finished(stage, event)
            case "lost":
                self._lost(stage, event.slot, event.reason)
            case "failed" | "broken" | "misplaced" | "died" if reason := self.keeper.loss(stage.key):
                self._lost(stage, event.slot, reason)
            case "failed":
                self._leave_slot(stage, event.slot)
                self.ledger.failed(event.slot, stage)
                self._fail(stage, event.reason)
            case "broken" | "misplaced":
                self._start_alone(stage, event)
            case "died":
                self._died(stage, event)

    def _finished(self, stage: Stage, event: Event) -> None:
        folder = self.store.stage(stage.kind, stage.key)
        try:
            record, reason = folder.done(), "it left no record"
        except StoreError as error:
            record, reason = None, str(error)
        else:
            if record is None and self._is_awaited(event):
                return
        self._awaited.pop(stage.key, None)
        self._leave_slot(stage, event.slot)
        if record is None:
            self.ledger.failed(event.slot, stage)
            self._fail(stage, reason)
            return
        self._record_cost(stage, event, record)
        self.schedule.finish(stage)
        self.keeper.give_back(stage.key, finished=True)
        self.hooks.stage_finished(stage, record, folder.path)

    def _is_awaited(self, event: Event) -> bool:
        """True where a record that was announced may still come: another machine's view of a folder can be old."""
        if not self.executor.is_remote():
            return False
        _, deadline = self._awaited.setdefault(event.key, (event, time.monotonic() + AWAIT_SECONDS))
        return time.monotonic() < deadline

    def _record_cost(self, stage: Stage, event: Event, record: StageRecord) -> None:
        cost = record.cost
        if event.compared_seconds:
            cost = cost.model_copy(update={"seconds": {**cost.seconds, "similarity": event.compared_seconds}})
        self.ledger.finished(event.slot, stage, cost, event.recorded_seconds, event.worked_seconds)

    def _start_alone(self, stage: Stage, event: Event) -> None:
        """Tries a stage again, once, alone: another may have broken the device, or it is one that has to be alone."""
        self._leave_slot(stage, event.slot)
        self.ledger.failed(event.slot, stage)
        if self.schedule.is_alone(stage):
            self._fail(stage, event.reason)
        else:
            self.schedule.retry_alone(stage)

    def _lost(self, stage: Stage, slot: str, reason: str) -> None:
        """Another process has taken a stage over, while this one stood still."""
        self._leave_slot(stage, slot)
        self.ledger.failed(slot, stage)
        self.keeper.forget(stage.key)
        self._hear(stage, self.elsewhere.add(stage, reason.removeprefix("taken over by ")))

    def _died(self, stage: Stage, event: Event) -> None:
        side_by_side = self._leave_slot(stage, event.slot)
        self.ledger.died(event.slot, stage)
        if side_by_side:  # any of them may have killed the worker
            self.schedule.retry_alone(stage)
            return
        reason = f"{event.reason}; run the same command again to go on from its last checkpoint"
        self._write_failure(stage, reason)
        self._fail(stage, reason)

    def _leave_slot(self, stage: Stage, slot: str) -> bool:
        """Takes an ended stage off its slot, which is free after its last one; true where it was one of several."""
        self.heartbeats.end(stage.key)
        unit = self.units[slot]
        unit.open_keys.discard(stage.key)
        if not unit.open_keys:
            self.free_slots += unit.slots
        return unit.side_by_side

    def _write_failure(self, stage: Stage, reason: str) -> None:
        """Fails a stage for which no worker has written that down."""
        folder = self.store.stage(stage.kind, stage.key)
        # The stage has failed already, even if that cannot be written down.
        with contextlib.suppress(OSError, ClaimLostError), fenced(folder.path, self.keeper.claim(stage.key)):
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_state(folder.read_state().model_copy(update={"status": "failed", "reason": reason}))

    def _fail(self, stage: Stage, reason: str) -> None:
        self.schedule.fail(stage, one_line(reason))
        self.keeper.give_back(stage.key, finished=False)
        self.hooks.stage_failed(stage, one_line(reason))
