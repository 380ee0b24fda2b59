"""Stages in the process of the runner: live events, logs of their own, and a process that is left as it was."""

from __future__ import annotations

import logging
import os
import sys

import pytest
import torch

from benchbench import hookimpl
from benchbench.components import Component
from benchbench.errors import BenchBenchError
from benchbench.executors.base import DeviceRequest, RunSettings
from benchbench.executors.inline import InlineExecutor
from benchbench.plugins import load_plugins
from benchbench.running.runner import RunOptions, run_plan
from benchbench.store import Store
from tests.conftest import TINY
from tests.executors.conftest import assignment, devices

INLINE = Component("inline", "benchbench.executors.inline:InlineExecutor")


def test_events_come_while_the_stage_runs(runs):
    with runs(InlineExecutor, devices(1)) as run:
        stage = run.stage("scratch")
        folder = run.store.stage(stage.kind, stage.key)
        assert run.run("0") == []
        events = run.run("0", stage)
        names = [event.name for event in events]
        assert names[:2] == ["started", "ready"]
        assert names[-1] == "finished"
        assert {event.name for event in events[2:-1]} == {"progress"}
        assert events[-2].progress.done == events[-2].progress.total
        assert events[-1].recorded_seconds < events[-1].worked_seconds
        assert folder.done().label == stage.label
        assert not folder.state.exists()


def test_output_of_a_stage_goes_to_its_log_and_that_of_hooks_does_not(runs, capsys):
    with runs(InlineExecutor, devices(1)) as run:
        stage, events = run.stage("chatty"), []
        run.run("0")  # loads the plugin, which prints
        capsys.readouterr()

        def handle(event):
            print("hook")
            print(event.name, file=sys.stderr)
            events.append(event)

        run.executor.submit("0", [assignment(run.plan, stage)])
        run.executor.wait(0, handle)
        log = run.store.stage("cell", stage.key).log.read_text()
    printed = capsys.readouterr()
    assert log.startswith("attempt 1 on cpu, 1 threads\n")
    assert "printed by a loss" in log
    assert "hook" not in log
    assert printed.out.splitlines() == ["hook"] * len(events)
    assert printed.err.split() == [event.name for event in events]


def test_a_failure_is_an_event_with_its_traceback_in_the_log(runs, capsys):
    with runs(InlineExecutor, devices(1)) as run:
        stage = run.stage("broken")
        events = run.run("0", stage)
        folder = run.store.stage("cell", stage.key)
        assert events[-1].name == "failed"
        assert events[-1].reason == f"ZeroDivisionError: no such thing (traceback in {folder.log})"
        assert "Traceback" in folder.log.read_text()
        assert (folder.read_state().status, folder.read_state().reason) == ("failed", events[-1].reason)
        assert [event.name for event in run.run("0", run.stage("scratch"))][-1] == "finished"
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_broken_device_fails_the_stage_since_the_process_cannot_be_replaced(runs):
    with runs(InlineExecutor, devices(1)) as run:
        events = run.run("0", run.stage("breaks_device"))
    assert events[-1].name == "failed"
    assert events[-1].reason.endswith(
        "; this process can no longer use the GPU: start it again, or take --executor local"
    )


@pytest.mark.parametrize("name", ["started", "ready", "progress", "finished"])
def test_an_error_of_the_runner_is_not_the_stage_s(runs, name):
    """A full disk for the ledger, say."""

    def handle(event):
        if event.name == name:
            raise OSError(28, "No space left on device")

    with runs(InlineExecutor, devices(1)) as run:
        stage = run.stage("scratch")
        folder = run.store.stage("cell", stage.key)
        run.executor.submit("0", [assignment(run.plan, stage)])
        with pytest.raises(OSError, match="No space left"):
            run.executor.wait(0, handle)
        assert folder.read_state().status != "failed"
        assert (folder.done() is None) == (name != "finished")
        assert run.run("0", stage)[-1].name == "finished"  # it can go on


def test_the_process_is_left_as_it_was(runs):
    torch.set_num_threads(2)
    torch.manual_seed(3)
    streams, random = (sys.stdout, sys.stderr), torch.get_rng_state()
    with runs(InlineExecutor, devices(1, threads=1)) as run:
        run.run("0", run.stage("scratch"))
        record = run.store.stage("cell", run.stage("scratch").key).done()
        assert record.environment.threads == 1
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), random)
    assert (sys.stdout, sys.stderr) == streams


def test_a_stream_that_a_library_keeps_stays_valid(runs, capsys, monkeypatch):
    logger = logging.getLogger("a_library")
    monkeypatch.setattr(logger, "handlers", [])
    with runs(InlineExecutor, devices(1)) as run:
        run.run("0", run.stage("logs"))
        log = run.store.stage("cell", run.stage("logs").key).log.read_text()
    assert "during a stage\n" in log
    logger.warning("after it")
    printed = capsys.readouterr().err
    assert printed.endswith("after it\n")
    assert "during a stage" not in printed


class Interrupting:
    """Ctrl-C at the second progress of a cell."""

    def __init__(self):
        self.count = 0

    @hookimpl
    def benchbench_progress(self, stage):
        self.count += stage.kind == "cell"
        if self.count == 2:
            raise KeyboardInterrupt


@pytest.mark.whole_run
def test_interrupted_it_keeps_checkpoints_and_goes_on(tiny_suite, plan_of, tmp_path):
    arms, recipe = {"scratch": {"method": "scratch"}}, TINY["recipes"]["default"] | {"epochs": 3}
    suite = tiny_suite(tmp_path, arms=arms, seeds=[0], teachers=None, recipes={"default": recipe})
    plan = plan_of(suite, devices=devices(1))
    options = RunOptions(tmp_path / "data", checkpoint_seconds=0)
    (cell,) = (stage for stage in plan.stages.values() if stage.kind == "cell")
    host = load_plugins()
    host.add(Interrupting(), "interrupting", "a test")
    store = Store(tmp_path / "interrupted")
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, host, store, INLINE, options)
    folder = store.stage("cell", cell.key)
    assert folder.checkpoint.exists()
    assert folder.done() is None
    assert run_plan(plan, load_plugins(), store, INLINE, options).failed == {}
    whole = Store(tmp_path / "whole")
    run_plan(plan, load_plugins(), whole, INLINE, options)
    record, expected = folder.done(), whole.stage("cell", cell.key).done()
    assert record.cost.carried_seconds > 0
    assert (record.metrics, record.weights_sha256) == (expected.metrics, expected.weights_sha256)
    assert folder.read_curve() == whole.stage("cell", cell.key).read_curve()


@pytest.mark.parametrize("jobs", [None, 1])
def test_it_has_one_slot_with_all_cores(jobs):
    slots = InlineExecutor.find_devices(DeviceRequest("cpu", jobs))
    assert slots.slots == ("0",)
    assert slots.exclusive


def test_several_jobs_are_refused():
    with pytest.raises(BenchBenchError, match="runs one stage at a time; leave --jobs out, or use --executor local"):
        InlineExecutor.find_devices(DeviceRequest("cpu", 2))


def test_it_takes_the_first_of_several_gpus(monkeypatch):
    monkeypatch.setattr("benchbench.hardware.devices._gpus", lambda: {"2": "Big GPU", "5": "Big GPU"})
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)))
    slots = InlineExecutor.find_devices(DeviceRequest("cuda"))
    assert (slots.slots, slots.threads, slots.sharing) == (("2",), 6, 1)


@pytest.mark.parametrize(("own", "expected"), [("active", "active"), (None, "passive")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(tmp_path, monkeypatch, own, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    InlineExecutor(devices(1), RunSettings(tmp_path, (), tmp_path, 30.0, None))
    assert os.environ["OMP_WAIT_POLICY"] == expected
