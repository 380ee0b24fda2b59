"""A limit to the time of a stage: the executor ends its worker, the stage fails with the reason, the rest goes on."""

from __future__ import annotations

import math
import time

import pytest

from benchbench import hookimpl
from benchbench.components import Component
from benchbench.errors import BenchBenchError
from benchbench.executors.base import Event, Executor
from benchbench.plugins import load_plugins
from benchbench.running import heartbeats
from benchbench.running.runner import RunOptions, run_plan
from benchbench.specs.records import Progress
from benchbench.store import Store
from benchbench.testing.sample import sample_record

HANGING = Component("hanging", f"{__name__}:Hanging")


class Hanging(Executor):
    """Stages of seed 0 hang, after a step or side by side with any; the others finish at once."""

    def __init__(self, devices, settings):
        super().__init__(devices, settings)
        self.store, self.events, self.open = Store(settings.store), [], {}

    def submit(self, slot, stages):
        self.open[slot] = list(stages)
        for stage in stages:
            self.events += [Event("started", stage.key, slot), Event("ready", stage.key, slot)]
        if any(stage.label.endswith("seed 0") for stage in stages):
            progress = Progress(done=1, total=2)
            self.events += [Event("progress", stages[0].key, slot, progress=progress)]
            return
        for stage in self.open.pop(slot):
            folder = self.store.stage(stage.kind, stage.key)
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_record(sample_record())
            self.events.append(Event("finished", stage.key, slot))

    def wait(self, timeout, handle):
        events, self.events = self.events, []
        for event in events:
            handle(event)
        time.sleep(0.01)

    def end(self, slot, reason):
        self.events += [Event("died", stage.key, slot, reason) for stage in self.open.pop(slot)]

    def close(self):
        pass


class Unending(Hanging):
    """One that cannot end a stage."""

    end = Executor.end


class Silences:
    """Notices of silent stages."""

    def __init__(self):
        self.labels = []

    @hookimpl
    def benchbench_stage_silent(self, stage, seconds):
        assert seconds >= heartbeats.FIRST_NOTICE
        self.labels.append(stage.label)


@pytest.fixture
def plan(tiny_suite, plan_of, tmp_path):
    arms = {name: {"method": "scratch", "recipe": {"lr": rate}} for name, rate in (("a", 0.1), ("b", 0.2))}
    return plan_of(tiny_suite(tmp_path, arms=arms, teachers=None, seeds=[0, 1]))


def test_a_stage_that_hangs_fails_and_the_others_are_done(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeats, "FIRST_NOTICE", 0.02)
    host, silences = load_plugins(), Silences()
    host.manager.register(silences)
    options = RunOptions(tmp_path / "data", max_cohort=1, stage_timeout=0.1)
    outcome = run_plan(plan, host, Store(tmp_path / "runs"), HANGING, options)
    cells = {plan.stages[cell.stage].label: cell.stage for cell in plan.cells}
    hanging = {key for label, key in cells.items() if label.endswith("seed 0")}
    assert set(outcome.failed) == hanging
    for reason in outcome.failed.values():
        assert reason.startswith("not done after 0.1 s (--stage-timeout), with its last step ")
        assert reason.endswith("run the same command again to go on from its last checkpoint")
    assert {cells[label] for label in silences.labels} == hanging
    assert set(outcome.ran) == set(cells.values()) - hanging


def test_an_executor_that_cannot_end_a_stage_refuses_a_limit(plan, tmp_path):
    component = Component("unending", f"{__name__}:Unending")
    with pytest.raises(
        BenchBenchError, match=r"^executor 'unending' cannot end a stage that hangs; leave --stage-time"
    ):
        run_plan(plan, load_plugins(), Store(tmp_path / "runs"), component, RunOptions(tmp_path, stage_timeout=9.0))


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_what_is_no_time_is_refused(tmp_path, seconds):
    with pytest.raises(BenchBenchError, match=r"^stage_timeout: \S+ is no time in seconds above 0; None is no limit$"):
        RunOptions(tmp_path, stage_timeout=seconds)
    if seconds != 0:  # at every step
        with pytest.raises(BenchBenchError, match=r"^checkpoint_seconds: \S+ is no time in seconds; 30 is usual$"):
            RunOptions(tmp_path, checkpoint_seconds=seconds)
