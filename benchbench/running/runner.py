"""Runs a plan: every stage once, those that others need first; a failure is reported and the rest goes on."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.components import NO_PARAMS, Component, Params
from benchbench.costs.ledger import RunLedger
from benchbench.costs.prediction import Predictor
from benchbench.errors import BenchBenchError, StoreError, one_line
from benchbench.executors.base import Assignment, Event, Executor, RunSettings
from benchbench.executors.stage_progress import duration
from benchbench.hardware.environment import git_commit
from benchbench.planning.model import Plan, Stage
from benchbench.plugins import PluginHost
from benchbench.running.heartbeats import Heartbeats
from benchbench.running.interrupts import RememberedInterrupts
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.running.schedule import Outcome, Schedule
from benchbench.store import Store

# Most cells that train side by side in one worker.
COHORT = 8
POLL_SECONDS = 0.5
SAVE_SECONDS = 20.0  # for the checkpoints of a run that is asked to end: schedulers kill after 30


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Attributes:
        data_root: folder of downloads.
        checkpoint_seconds: work of a stage that a kill may cost.
        max_cohort: most cells that train side by side.
        stage_timeout: seconds after which the worker of a stage is ended; None for no limit.
        executor_params: of the executor, checked.

    Raises:
        BenchBenchError: a time is none.
    """

    data_root: Path
    checkpoint_seconds: float = 30.0
    max_cohort: int = COHORT
    stage_timeout: float | None = None
    executor_params: Params = NO_PARAMS

    def __post_init__(self) -> None:
        limit = self.stage_timeout
        if not 0 <= self.checkpoint_seconds < math.inf:
            raise BenchBenchError(f"checkpoint_seconds: {self.checkpoint_seconds} is no time in seconds; 30 is usual")
        if limit is not None and not 0 < limit < math.inf:
            raise BenchBenchError(f"stage_timeout: {limit} is no time in seconds above 0; None is no limit")


def run_plan(plan: Plan, host: PluginHost, store: Store, executor: Component, options: RunOptions) -> Outcome:
    """Runs all stages of a plan that are not done yet.

    Args:
        plan: the stages.
        host: plugins, whose lifecycle hooks are called; workers load the same plugin files.
        store: folder of results.
        executor: the component that runs stages.
        options: of the run.

    Raises:
        StoreError: the store is in use, of another format, or cannot be written.
        BenchBenchError: the executor cannot end a stage, and there is a limit to their time.
    """
    kind = executor.load()
    if options.stage_timeout is not None and not kind.can_end():
        raise BenchBenchError(
            f"executor '{executor.name}' cannot end a stage that hangs; leave --stage-timeout out, or use --executor "
            "local"
        )
    store.open()
    hooks = LifecycleHooks(host)
    settings = RunSettings(
        store=store.root.absolute(),
        plugins=tuple(Path(name) for name, origin in host.origins.items() if name == origin),
        data_root=options.data_root.absolute(),
        checkpoint_seconds=options.checkpoint_seconds,
        commit=git_commit(plan.file.folder.absolute()),
        compares=plan.has_pairs,
        params=options.executor_params,
    )
    with store.locked() as lock:
        schedule = Schedule(plan, store, options.max_cohort)
        hooks.plan_made(plan, schedule.outcome.reused)
        for key, reason in schedule.outcome.failed.items():
            hooks.stage_failed(plan.stages[key], reason)
        if schedule.waiting:
            with (
                RememberedInterrupts() as interrupts,
                contextlib.closing(RunLedger(store, plan)) as ledger,
                contextlib.closing(kind(plan.devices, settings, lock)) as workers,
            ):
                run = _Run(schedule, store, hooks, ledger, workers)
                run.stage_timeout = options.stage_timeout or math.inf
                try:
                    run.to_end(interrupts)
                except KeyboardInterrupt:
                    workers.save_and_end(SAVE_SECONDS)
                    raise
    hooks.run_finished(plan, schedule.outcome.failed)
    return schedule.outcome


@dataclass
class _Unit:
    """Stages that a slot was given at once.

    Attributes:
        open_keys: of those that have not ended.
        side_by_side: true where there were several.
        begun: time at which it was, and then at which the worker was ready for them.
    """

    open_keys: set[str]
    side_by_side: bool
    begun: float = field(default_factory=time.monotonic)


class _Run:
    """The stages of a schedule on the slots of an executor."""

    def __init__(self, schedule: Schedule, store: Store, hooks: LifecycleHooks, ledger: RunLedger, executor: Executor):
        self.schedule, self.store, self.hooks = schedule, store, hooks
        self.ledger, self.executor = ledger, executor
        self.plan = schedule.plan
        self.free_slots = list(self.plan.devices.slots)
        self.units: dict[str, _Unit] = {}
        self.predictor = Predictor(self.plan, store)
        self.heartbeats = Heartbeats()
        self.stage_timeout = math.inf

    def to_end(self, interrupts: RememberedInterrupts) -> None:
        def handle(event: Event) -> None:
            self._handle(event)
            interrupts.check()

        for key in self.schedule.waiting:  # from the store as it is now; the others when their turn comes
            self.predictor.hours(key)
        while self.schedule.waiting or self.schedule.running:
            interrupts.check()
            self._fail_blocked()
            self._submit()
            if self.schedule.running:
                self.executor.wait(POLL_SECONDS, handle)
            self._watch()
            self.ledger.alive()

    def _watch(self) -> None:
        """Reports stages that are silent, and ends workers whose stages are over the limit of time."""
        for key, seconds in self.heartbeats.notices():
            self.hooks.stage_silent(self.schedule.running[key], seconds)
        for slot, unit in self.units.items():
            if unit.open_keys and time.monotonic() - unit.begun > self.stage_timeout:
                unit.begun = math.inf
                self.executor.end(slot, self._overdue(min(unit.open_keys)))

    def _overdue(self, key: str) -> str:
        limit = f"not done after {duration(self.stage_timeout)} (--stage-timeout)"
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
        for unit in self.schedule.units(len(self.free_slots)):
            if not self.free_slots:
                break
            slot = self.free_slots.pop(0)
            self.units[slot] = _Unit({stage.key for stage in unit}, len(unit) > 1)
            self.schedule.start(unit)
            self.ledger.submitted(slot, unit, {stage.key: self.predictor.hours(stage.key) for stage in unit})
            self.executor.submit(slot, [self._assignment(stage) for stage in unit])

    def _assignment(self, stage: Stage) -> Assignment:
        needs = {role: (self.plan.stages[key].kind, key) for role, key in (stage.needs | stage.soft_needs).items()}
        return Assignment(stage.key, stage.label, stage.spec, needs)

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
            case "failed":
                self._leave_slot(stage, event.slot)
                self.ledger.failed(event.slot, stage)
                self._fail(stage, event.reason)
            case "broken" | "misplaced":
                self._start_alone(stage, event)
            case "died":
                self._died(stage, event)

    def _finished(self, stage: Stage, event: Event) -> None:
        self._leave_slot(stage, event.slot)
        folder = self.store.stage(stage.kind, stage.key)
        try:
            record, reason = folder.done(), "it left no record"
        except StoreError as error:
            record, reason = None, str(error)
        if record is None:
            self.ledger.failed(event.slot, stage)
            self._fail(stage, reason)
            return
        cost = record.cost
        if event.compared_seconds:
            cost = cost.model_copy(update={"seconds": {**cost.seconds, "similarity": event.compared_seconds}})
        self.ledger.finished(event.slot, stage, cost, event.recorded_seconds, event.worked_seconds)
        self.schedule.finish(stage)
        self.hooks.stage_finished(stage, record, folder.path)

    def _start_alone(self, stage: Stage, event: Event) -> None:
        """Tries a stage again, once, alone: another may have broken the device, or it is one that has to be alone."""
        self._leave_slot(stage, event.slot)
        self.ledger.failed(event.slot, stage)
        if self.schedule.is_alone(stage):
            self._fail(stage, event.reason)
        else:
            self.schedule.retry_alone(stage)

    def _died(self, stage: Stage, event: Event) -> None:
        side_by_side = self._leave_slot(stage, event.slot)
        self.ledger.died(event.slot, stage)
        if side_by_side:  # any of them may have killed the worker
            self.schedule.retry_alone(stage)
            return
        reason = f"{event.reason}; run the same command again to go on from its last checkpoint"
        folder = self.store.stage(stage.kind, stage.key)
        with contextlib.suppress(OSError):  # the stage has failed already, even if that cannot be written down
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_state(folder.read_state().model_copy(update={"status": "failed", "reason": reason}))
        self._fail(stage, reason)

    def _leave_slot(self, stage: Stage, slot: str) -> bool:
        """Takes an ended stage off its slot, which is free after its last one; true where it was one of several."""
        self.heartbeats.end(stage.key)
        unit = self.units[slot]
        unit.open_keys.discard(stage.key)
        if not unit.open_keys:
            self.free_slots.append(slot)
        return unit.side_by_side

    def _fail(self, stage: Stage, reason: str) -> None:
        self.schedule.fail(stage, one_line(reason))
        self.hooks.stage_failed(stage, one_line(reason))
