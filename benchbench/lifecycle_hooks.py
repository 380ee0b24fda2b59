"""Lifecycle hooks: for side effects, such as progress and trackers. `benchbench.hookspecs` has all extension points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.components import hookspec

if TYPE_CHECKING:
    from benchbench.planning.model import Plan, Stage
    from benchbench.specs.elsewhere import StageElsewhere
    from benchbench.specs.pilots import Pilot
    from benchbench.specs.records import Progress, StageRecord


class Lifecycle:
    """Hooks that are called while a suite runs, all in the process that runs `benchbench`."""

    @hookspec
    def benchbench_plan_made(self, plan: Plan, done: list[str]) -> None:
        """The grid is expanded and nothing has run yet; `done` has the keys of stages that earlier runs finished.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_plan_made(plan, done):
                print(f"{plan.suite.name}: {len(plan.stages) - len(done)} of {len(plan.stages)} stages to run")
        """

    @hookspec
    def benchbench_stage_started(self, stage: Stage, worker: str) -> None:
        """A worker begins the stage, from its start or from its last checkpoint; `worker` is its slot.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_stage_started(stage, worker):
                print(f"{stage.kind} {stage.key[:8]} on {worker}: {stage.label}")
        """

    @hookspec
    def benchbench_progress(self, stage: Stage, progress: Progress) -> None:
        """A stage moved on, by `done` of `total` steps; at most a few times a second. See
        `benchbench.specs.records.Progress`.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_progress(stage, progress):
                print(f"{stage.label}: {progress.done / progress.total:.0%}")
        """

    @hookspec
    def benchbench_stage_silent(self, stage: Stage, seconds: float) -> None:
        """A running stage has taken no step for so many seconds: first after two minutes, then whenever the time has
        doubled. Executor `inline` runs stages in this very process, and cannot tell.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_stage_silent(stage, seconds):
                print(f"{stage.label}: no step for {seconds / 60:.0f} minutes")
        """

    @hookspec
    def benchbench_stage_finished(self, stage: Stage, record: StageRecord, folder: Path) -> None:
        """The stage's record is on disk: `record.json` in `folder`, beside `curve.jsonl` (one line per epoch),
        `log.txt` and the weights. Its class goes by `stage.kind`, see `benchbench.specs.records`.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_stage_finished(stage, record):
                if stage.kind == "cell":
                    accuracy, hours = record.metrics.test_accuracy, record.cost.device_hours
                    print(f"{stage.label}: {accuracy:.1%} in {hours:.3f} device-hours")
        """

    @hookspec
    def benchbench_stage_failed(self, stage: Stage, reason: str) -> None:
        """The stage failed, or a stage that it needs did.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_stage_failed(stage, reason):
                print(f"{stage.label} failed: {reason}")
        """

    @hookspec
    def benchbench_stage_elsewhere(self, stage: Stage, elsewhere: StageElsewhere) -> None:
        """News of a stage that another process on the store runs, which calls the other hooks for it: its progress,
        or how it has ended. See `benchbench.specs.elsewhere.StageElsewhere`.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_stage_elsewhere(stage, elsewhere):
                print(f"{stage.label}: {elsewhere.status} on {elsewhere.holder}")
        """

    @hookspec
    def benchbench_pilot_changed(self, pilot: Pilot) -> None:
        """A job that `slurm` or the like keeps for the run waits, runs or has ended, see `benchbench.specs.pilots`.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_pilot_changed(pilot):
                print(f"job {pilot.name}: {pilot.state} {pilot.reason}")
        """

    @hookspec
    def benchbench_run_finished(self, plan: Plan, failed: dict[str, str]) -> None:
        """Everything that could run has run; `failed` maps stage keys to reasons.

        Example:
            from benchbench import hookimpl

            @hookimpl
            def benchbench_run_finished(plan, failed):
                print(f"{plan.suite.name} is over, with {len(failed)} of {len(plan.stages)} stages failed")
        """
