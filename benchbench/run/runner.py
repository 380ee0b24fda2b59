"""Runs a plan: every stage once, those that others need first; what fails is reported and the rest goes on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.components import Component
from benchbench.costs.ledger import RunLedger
from benchbench.costs.prediction import Predictor
from benchbench.errors import StoreError, one_line
from benchbench.executors.base import Event, Executor
from benchbench.hardware.environment import git_commit
from benchbench.plan.model import KINDS, Plan, Stage
from benchbench.run.lifecycle import LifecycleHooks
from benchbench.store import Store, write_json

# Most cells that train side by side in one worker.
COHORT = 8


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        ran: keys of the stages that this run finished.
        reused: keys of those that were done before.
        failed: reasons by key, for those that failed or need one that did.
    """

    ran: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_plan(
    plan: Plan,
    store: Store,
    executor: Component,
    data_root: Path,
    checkpoint_seconds: float = 30.0,
    cohort: int = COHORT,
) -> Outcome:
    """Runs whatever of a plan is not done yet.

    Args:
        plan: what to run.
        store: where results are and go.
        executor: the component that runs stages.
        data_root: where downloads go.
        checkpoint_seconds: how much work of a stage a kill may cost.
        cohort: most cells that train side by side.

    Raises:
        StoreError: the store is in use, of another version, or cannot be written.
    """
    store.open()
    hooks = LifecycleHooks(plan.host)
    outcome = Outcome()
    settings = {
        "store": str(store.root.absolute()),
        "plugins": [name for name, origin in plan.host.origins.items() if name == origin],
        "data_root": str(data_root.absolute()),
        "checkpoint_seconds": checkpoint_seconds,
        "commit": git_commit(plan.file.path.absolute().parent),
    }
    with store.locked() as lock:
        run = _Run(plan, store, hooks, outcome, executor.load()(plan.devices, settings, lock), cohort)
        try:
            run.to_end()
        finally:
            run.executor.close()
            if run.ledger is not None:
                run.ledger.close()
    hooks.run_finished(plan, outcome.failed)
    return outcome


@dataclass
class _Busy:
    """What a slot is busy with: stages that have not ended yet, and whether they were several."""

    keys: set[str]
    company: bool


class _Run:
    def __init__(
        self, plan: Plan, store: Store, hooks: LifecycleHooks, outcome: Outcome, executor: Executor, cohort: int
    ):
        self.plan, self.store, self.hooks, self.outcome, self.executor = plan, store, hooks, outcome, executor
        self.cohort = cohort
        self.free = list(plan.devices.slots)
        self.busy: dict[str, _Busy] = {}
        self.alone: set[str] = set()
        self.running: dict[str, Stage] = {}
        self.waiting: dict[str, Stage] = {}
        self.done: set[str] = set()
        self.ledger: RunLedger | None = None

    def to_end(self) -> None:
        self._look_up()
        self.hooks.plan_made(self.plan, self.outcome.reused)
        for key, reason in self.outcome.failed.items():
            self.hooks.stage_failed(self.plan.stages[key], reason)
        if not self.waiting:
            return
        self.ledger = RunLedger(self.store, self.plan)
        predictor = Predictor(self.plan, self.store)
        for key in self.waiting:  # as it stands now; what is not known yet may be when its turn comes
            predictor.hours(key)
        while self.waiting or self.running:
            self._dispatch(self.ledger, predictor)
            if self.running:
                for event in self.executor.wait(timeout=0.5):
                    self._take(event, self.ledger)
            self.ledger.alive()

    def _look_up(self) -> None:
        """Sorts the stages into done and waiting; one whose record cannot be read has failed."""
        for key, stage in self.plan.stages.items():
            try:
                finished = self.store.stage(stage.kind, key).done() is not None
            except StoreError as error:
                self.outcome.failed[key] = one_line(error)
                continue
            if finished:
                self.done.add(key)
                self.outcome.reused.append(key)
            else:
                self.waiting[key] = stage

    def _dispatch(self, ledger: RunLedger, predictor: Predictor) -> None:
        for stage in list(self.waiting.values()):
            broken = [key for key in stage.needs.values() if key in self.outcome.failed]
            if broken:
                needed = self.plan.stages[broken[0]].label
                del self.waiting[stage.key]
                self._fail(stage, f"needs '{needed}', which failed")
        for unit in self._units():
            if not self.free:
                break
            slot = self.free.pop(0)
            self.busy[slot] = _Busy({stage.key for stage in unit}, len(unit) > 1)
            for stage in unit:
                self.running[stage.key] = self.waiting.pop(stage.key)
            ledger.submitted(slot, unit, {stage.key: predictor.hours(stage.key) for stage in unit})
            self.executor.submit(slot, [self._message(stage) for stage in unit])

    def _units(self) -> list[list[Stage]]:
        """What can be started now: stages alone, and cells of one group side by side."""
        over = self.done | self.outcome.failed.keys()  # a choice that could not be measured only makes a stage slower
        ready = [
            stage
            for stage in self.waiting.values()
            if self.done.issuperset(stage.needs.values()) and over.issuperset(stage.after.values())
        ]
        ready.sort(key=lambda stage: KINDS.index(stage.kind))
        units: list[list[Stage]] = []
        groups: dict[str, list[Stage]] = {}
        for stage in ready:
            group = None if stage.key in self.alone else stage.group
            unit = groups.get(group) if group else None
            if unit is None or len(unit) >= self.cohort:
                unit = []
                units.append(unit)
            if group:
                groups[group] = unit
            unit.append(stage)
        # No worker is left without work so that another may have company.
        while units and len(units) < len(self.free) and len(largest := max(units, key=len)) > 1:
            half = len(largest) // 2
            units.append(largest[half:])
            del largest[half:]
        return units

    def _message(self, stage: Stage) -> dict[str, Any]:
        needs = [
            {"role": role, "key": key, "kind": self.plan.stages[key].kind}
            for role, key in (*stage.needs.items(), *stage.after.items())
        ]
        return {"kind": stage.kind, "key": stage.key, "label": stage.label, "job": stage.job, "needs": needs}

    def _take(self, event: Event, ledger: RunLedger) -> None:
        stage = self.running.get(event.key)
        if stage is None:
            return
        if event.name == "started":
            self.hooks.stage_started(stage, event.slot)
            return
        if event.name == "ready":
            ledger.ready(event.slot)
            return
        if event.name == "progress":
            self.hooks.progress(stage, event.details["progress"])
            return
        del self.running[stage.key]
        busy = self.busy[event.slot]
        beside = busy.company
        busy.keys.discard(stage.key)
        if not busy.keys:
            self.free.append(event.slot)
        if event.name == "died" and beside:  # whichever of them killed the worker: from here on each is alone
            self.alone.add(stage.key)
            self.waiting[stage.key] = stage
            ledger.ended("died", event.slot, stage)
            return
        folder = self.store.stage(stage.kind, stage.key)
        reason = event.details.get("reason", "")
        record = None
        if event.name == "finished":
            try:
                record = folder.done()
                reason = "it left no record"
            except StoreError as error:
                reason = str(error)
        elif event.name == "died":
            reason += "; run the same command again to go on from its last checkpoint"
            with contextlib.suppress(OSError):  # the stage has failed already, whether that can be written down or not
                folder.path.mkdir(parents=True, exist_ok=True)
                write_json(folder.state, {**folder.read_state(), "status": "failed", "reason": reason})
        how = event.name if event.name == "died" or record else "failed"
        ledger.ended(how, event.slot, stage, record, event.details)
        if record is None:
            self._fail(stage, reason)
        else:
            self.done.add(stage.key)
            self.outcome.ran.append(stage.key)
            self.hooks.stage_finished(stage, record, folder.path)

    def _fail(self, stage: Stage, reason: str) -> None:
        self.outcome.failed[stage.key] = one_line(reason)
        self.hooks.stage_failed(stage, one_line(reason))
