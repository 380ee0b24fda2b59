"""Stages of several slots: the processes beside a worker, their numbers and their ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from benchbench.executors.base import Event
from benchbench.executors.local import LocalExecutor
from benchbench.executors.ranks import boards_of, rank_environment
from benchbench.hardware.devices import Devices
from benchbench.planning.model import Stage
from tests.executors.conftest import Runs, assignment, devices
from tests.forked import forked_workers


@pytest.fixture
def forked() -> Iterator[None]:
    with forked_workers():
        yield


def start(run: Runs, stage: Stage, *others: str) -> None:
    """Submits a stage to slot 0 and others beside it."""
    run.executor.submit("0", [replace(assignment(run.plan, stage), slots=others)])


def end_of(run: Runs) -> Event:
    """The event that ends the stage at hand."""
    events: list[Event] = []
    while not events or events[-1].name not in ("finished", "failed", "broken", "died"):
        run.executor.wait(1.0, events.append)
    return events[-1]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def weights(run: Runs, stage: Stage) -> dict:
    return safetensors.torch.load_file(run.store.stage(stage.kind, stage.key).weights)


def difference(one: dict, other: dict) -> float:
    """The mean difference of weights; AdamW makes whole steps of gradients near 0, and so of their rounding."""
    assert one.keys() == other.keys()
    return float(torch.cat([(one[name] - other[name]).double().abs().flatten() for name in one]).mean())


@pytest.mark.whole_run
def test_two_processes_give_one_s_results_at_twice_the_devices(forked, runs, tmp_path):
    records, networks, curves = [], [], []
    for others in ((), ("1",)):
        with runs(LocalExecutor, devices(2)) as run:
            stage = run.stage("distil")
            for key in stage.needs.values():
                run.run("0", run.plan.stages[key])
            start(run, stage, *others)
            event = end_of(run)
            assert event.name == "finished", event.reason
            folder = run.store.stage("cell", stage.key)
            records.append(folder.done())
            networks.append(weights(run, stage))
            curves.append([json.loads(line) for line in folder.curve.read_text().splitlines()])
        (tmp_path / "runs").rename(tmp_path / f"runs-{len(others)}")
    one, two = records
    assert difference(*networks) < 1e-5
    assert two.key == one.key
    assert two.metrics.test_count == one.metrics.test_count
    assert two.metrics.test_accuracy == pytest.approx(one.metrics.test_accuracy, abs=0.01)
    assert all(row == pytest.approx(other, rel=1e-4) for row, other in zip(*curves, strict=True))
    assert (one.cost.devices, two.cost.devices) == (1, 2)
    charged = sum(seconds for section, seconds in two.cost.seconds.items() if section != "loading")
    assert two.cost.device_hours == pytest.approx(2 * charged / 3600)
    assert two.environment.threads == 1
    assert two.remarks == ()


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        ("deadly_beside", "process 2 of 2: it was killed by SIGKILL; the system may have run out of memory"),
        ("broken_beside", "process 2 of 2: ZeroDivisionError: no such thing"),
    ],
)
def test_a_process_that_ends_ends_the_stage_with_its_reason(forked, runs, arm, reason):
    with runs(LocalExecutor, devices(2)) as run:
        start(run, run.stage(arm), "1")
        event = end_of(run)
        assert (event.name, event.reason) == ("failed", reason)
        start(run, run.stage("scratch"), "1")  # the worker goes on
        assert end_of(run).name == "finished"


@pytest.mark.whole_run
def test_a_signal_saves_for_one_device_and_takes_all_processes_along(forked, runs, tmp_path):
    with runs(LocalExecutor, devices(2)) as run:
        stage, pauses = run.stage("paused"), [tmp_path / f"paused-{rank}" for rank in (0, 1)]
        start(run, stage, "1")
        wait_for(lambda: all(path.exists() and path.read_text() for path in pauses))
        pids = [int(path.read_text()) for path in pauses]
        os.kill(pids[0], signal.SIGTERM)
        (tmp_path / "go").touch()
        event = end_of(run)
        assert (event.name, event.reason) == ("died", "its worker process was asked to end by a signal")
        wait_for(lambda: all(map(is_gone, pids)))
        assert run.store.stage("cell", stage.key).checkpoint.exists()
        start(run, stage)
        assert end_of(run).name == "finished"
        record = run.store.stage("cell", stage.key).done()
        assert record.cost.devices == 1
        assert record.cost.carried_seconds > 0
        start(run, run.stage("scratch"))
        assert end_of(run).name == "finished"
        assert difference(weights(run, stage), weights(run, run.stage("scratch"))) < 1e-5


@pytest.mark.whole_run
def test_processes_end_with_a_worker_that_is_killed(forked, runs, tmp_path):
    with runs(LocalExecutor, devices(2)) as run:
        pauses = [tmp_path / f"paused-{rank}" for rank in (0, 1)]
        start(run, run.stage("paused"), "1")
        wait_for(lambda: all(path.exists() and path.read_text() for path in pauses))
        pids = [int(path.read_text()) for path in pauses]
        os.kill(pids[0], signal.SIGKILL)
        assert end_of(run).name == "died"
        wait_for(lambda: all(map(is_gone, pids)))


def test_each_process_sees_its_own_gpu_and_its_number(runs):
    from benchbench.executors.base import RunSettings, worker_settings

    slots = Devices("cuda", "a GPU", ("0", "3", "0.1", "3.1"), 4, 2)
    with runs(LocalExecutor, devices(1)) as run:
        stage = replace(assignment(run.plan, run.stage("scratch")), slots=("3.1",))
    settings = worker_settings(RunSettings(run.store.root, (), run.store.root, 0.0, None), slots, "0.1")
    environment = rank_environment(settings, stage, 1)
    assert environment["CUDA_VISIBLE_DEVICES"] == "3"
    assert {name: environment[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")} == {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
    }
    assert boards_of(settings, stage) == [0, 3]
