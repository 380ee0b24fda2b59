"""Runs a plan: every stage once, those that others need first; a failure is reported and the rest goes on."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

from benchbench.components import NO_PARAMS, Component, Params
from benchbench.costs.ledger import RunLedger, new_run
from benchbench.errors import BenchBenchError
from benchbench.executors.base import RunSettings
from benchbench.hardware.environment import git_commit
from benchbench.planning.model import Plan
from benchbench.plugins import PluginHost
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.running.interrupts import RememberedInterrupts
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.running.schedule import COHORT, Outcome, Schedule
from benchbench.running.stage_runner import Limits, Reports, StageRunner
from benchbench.store import Store

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
        max_seconds: time after which the run saves checkpoints and ends; None for no limit.

    Raises:
        BenchBenchError: a time is none.
    """

    data_root: Path
    checkpoint_seconds: float = 30.0
    max_cohort: int = COHORT
    stage_timeout: float | None = None
    executor_params: Params = NO_PARAMS
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        limit = self.stage_timeout
        if not 0 <= self.checkpoint_seconds < math.inf:
            raise BenchBenchError(f"checkpoint_seconds: {self.checkpoint_seconds} is no time in seconds; 30 is usual")
        if limit is not None and not 0 < limit < math.inf:
            raise BenchBenchError(f"stage_timeout: {limit} is no time in seconds above 0; None is no limit")


def run_plan(plan: Plan, host: PluginHost, store: Store, executor: Component, options: RunOptions) -> Outcome:
    """Runs all stages of a plan that are not done yet, beside other runs on the same store.

    Args:
        plan: the stages.
        host: plugins, whose lifecycle hooks are called; workers load the same plugin files.
        store: folder of results.
        executor: the component that runs stages.
        options: of the run.

    Raises:
        StoreError: the store is of another format, or cannot be written.
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
        run=new_run(),
        params=options.executor_params,
    )
    schedule = Schedule(plan, store, options.max_cohort)
    hooks.plan_made(plan, schedule.outcome.reused, schedule.outcome.failed)
    if schedule.waiting:
        with (
            RememberedInterrupts() as interrupts,
            contextlib.closing(RunLedger(store, plan, settings.run)) as ledger,
            contextlib.closing(ClaimKeeper(store, settings.run, len(plan.devices.slots))) as keeper,
            contextlib.closing(kind(plan.devices, settings)) as workers,
        ):
            if schedule.lacks_needs(store):  # removed by `benchbench store gc`, which did not see this run yet
                schedule = Schedule(plan, store, options.max_cohort)
            run = StageRunner(schedule, store, Reports(hooks, ledger), keeper, workers)
            run.limits = Limits(options.stage_timeout, options.max_seconds)
            try:
                run.to_end(interrupts)
            except KeyboardInterrupt:
                workers.save_and_end(SAVE_SECONDS)
                raise
            if schedule.outcome.stopped:
                workers.save_and_end(SAVE_SECONDS)
    hooks.run_finished(plan, schedule.outcome.failed)
    return schedule.outcome
