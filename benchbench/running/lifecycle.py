"""Calls of lifecycle hooks: a plugin that raises is reported once and never ends a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchbench.errors import one_line
from benchbench.planning.model import Plan, Stage
from benchbench.plugins import PluginHost
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.pilots import Pilot
from benchbench.specs.records import Progress, StageRecord


class LifecycleHooks:
    """The lifecycle hooks of one run's plugins, each called on its own."""

    def __init__(self, host: PluginHost):
        self.host = host
        self.broken: set[str] = set()

    def plan_made(self, plan: Plan, done: list[str], failed: Mapping[str, str] | None = None) -> None:
        """A plan as a run finds it in the store: what is done, and the reasons of what cannot be read there, by key."""
        self._call("benchbench_plan_made", plan=plan, done=done)
        for key, reason in (failed or {}).items():
            self.stage_failed(plan.stages[key], reason)

    def stage_started(self, stage: Stage, worker: str) -> None:
        self._call("benchbench_stage_started", stage=stage, worker=worker)

    def progress(self, stage: Stage, progress: Progress) -> None:
        self._call("benchbench_progress", stage=stage, progress=progress)

    def stage_silent(self, stage: Stage, seconds: float) -> None:
        self._call("benchbench_stage_silent", stage=stage, seconds=seconds)

    def stage_elsewhere(self, stage: Stage, elsewhere: StageElsewhere) -> None:
        self._call("benchbench_stage_elsewhere", stage=stage, elsewhere=elsewhere)

    def pilot_changed(self, pilot: Pilot) -> None:
        self._call("benchbench_pilot_changed", pilot=pilot)

    def stage_finished(self, stage: Stage, record: StageRecord, folder: Path) -> None:
        self._call("benchbench_stage_finished", stage=stage, record=record, folder=folder)

    def stage_failed(self, stage: Stage, reason: str) -> None:
        self._call("benchbench_stage_failed", stage=stage, reason=reason)

    def run_finished(self, plan: Plan, failed: dict[str, str]) -> None:
        self._call("benchbench_run_finished", plan=plan, failed=failed)

    def _call(self, name: str, **arguments: object) -> None:
        for implementation in getattr(self.host.manager.hook, name).get_hookimpls():
            hook = f"{implementation.plugin_name}: {name}"
            if hook in self.broken:
                continue
            try:
                implementation.function(*(arguments[argument] for argument in implementation.argnames))
            except (Exception, SystemExit) as error:
                self.broken.add(hook)
                print(f"warning: plugin {hook} raised {one_line(error)}; it is not called again", file=sys.stderr)
