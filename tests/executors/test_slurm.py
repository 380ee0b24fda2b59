"""Suites on a real Slurm of two nodes: stages that sleep and write, and the ends that a cluster has for jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchbench as bb
from benchbench import hookimpl
from benchbench.executors.pilots import EngineError, WorkOrder
from benchbench.executors.slurm import SlurmExecutor
from benchbench.executors.slurm_params import SlurmParams
from tests.executors import slurm_cluster as slurm
from tests.executors.pilot_listener import PilotListener
from tests.stores import weights

REASON = slurm.obstacle()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.whole_run,
    pytest.mark.skipif(bool(REASON), reason=f"no Slurm: {REASON}"),
    pytest.mark.xdist_group("slurm"),
]
REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def running_cluster(tmp_path_factory) -> Iterator[slurm.SlurmCluster]:
    with slurm.slurm_cluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster, monkeypatch) -> Iterator[slurm.SlurmCluster]:
    monkeypatch.setenv("SLURM_CONF", running_cluster.environment["SLURM_CONF"])
    yield running_cluster
    running_cluster.end_jobs()


@pytest.fixture
def stub(tmp_path) -> Path:
    """A Python whose `benchbench work` has stages that sleep."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {sys.executable} {REPO}/tests/executors/stub_work.py "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def planned(cluster, stub, tiny_suite, tmp_path):
    """A suite of so many cells, planned for the cluster: `planned(4, {"ticks": 5}, jobs=2)`."""

    def make(seeds: int, content: dict, **params):
        store = tmp_path / "runs"
        store.mkdir(exist_ok=True)
        (store / "stub.json").write_text(json.dumps(content))
        suite = tiny_suite(tmp_path, seeds=list(range(seeds)), teachers=None, arms={"scratch": {"method": "scratch"}})
        own = {"partition": "main", "python": str(stub), "poll_seconds": 0.2, **params}
        return bb.plan(suite, store=store, executor={"slurm": own})

    return make


def ticks(experiment) -> dict[str, list[str]]:
    """By stage, the jobs that worked on it, tick by tick."""
    folders = {key: experiment.store.stage(stage.kind, key).path for key, stage in experiment.plan.stages.items()}
    return {key: (folder / "ticks").read_text().split() for key, folder in folders.items()}


def test_jobs_share_the_stages(planned):
    experiment, listener = planned(6, {"ticks": 5, "together": 2}, jobs=2), PilotListener()
    run = bb.run(experiment, listeners=[listener])
    assert sorted(run.outcome.elsewhere) == sorted(experiment.plan.stages)
    assert (run.failed, set(listener.reasons())) == ({}, {""})
    worked = ticks(experiment)
    assert [len(each) for each in worked.values()] == [5] * 6
    assert len({job for each in worked.values() for job in each}) == 2
    assert run.experiment.plan.devices.name != "CPU of slurm"  # what the jobs had is known by now
    assert bb.run(experiment).outcome.reused == list(experiment.plan.stages)  # without a job


def test_a_stage_that_fails_has_its_reason(planned):
    experiment = planned(3, {"ticks": 2, "stages": {"seed 1": {"end": "fail"}}}, jobs=2)
    run = bb.run(experiment)
    assert list(run.failed.values()) == ["as told"]
    assert len(run.outcome.elsewhere) == 2


def test_a_lost_node_costs_no_tick_and_is_named(planned, cluster):
    def lose(pilot) -> None:
        if pilot.state == "running" and pilot.reason == "on n2" and "n2" in cluster.daemons:
            time.sleep(3)
            cluster.kill_node("n2")

    experiment, listener = planned(2, {"ticks": 50}, jobs=2, options=["--exclusive"]), PilotListener(lose)
    try:
        run = bb.run(experiment, listeners=[listener])
    finally:
        if "n2" not in cluster.daemons:
            cluster.start_node("n2")
            cluster.await_nodes()
    assert run.failed == {}
    assert "NODE_FAIL on n2" in listener.reasons()


def test_a_stage_that_ends_its_job_three_times_fails_with_the_reason(planned):
    experiment, listener = planned(1, {"ticks": 2, "stages": {"seed 0": {"end": "kill"}}}, jobs=1), PilotListener()
    run = bb.run(experiment, listeners=[listener])
    (reason,) = run.failed.values()
    assert reason.startswith("its job ended 3 times; the last: FAILED on n")
    assert "killed by SIGKILL" in reason
    assert bb.report(experiment).failed == run.failed


def test_jobs_go_on_without_the_runner_and_the_next_one_finds_them(planned, cluster, tmp_path):
    experiment = planned(2, {"ticks": 120}, jobs=2)  # they are still at work when the next one looks
    params = experiment.executor.params.model_dump(exclude_defaults=True)
    settings = [f"--executor-set={name}={value}" for name, value in params.items()]
    command = [sys.executable, "-m", "benchbench", "run", experiment.plan.file.path, f"--store={experiment.store.root}"]
    runner = subprocess.Popen([*command, "--executor=slurm", *settings, "--data=data"], cwd=tmp_path)
    while len(running := cluster.ask("squeue", "-h", "-t", "R", "-o", "%i").split()) < 2:
        assert runner.poll() is None
        time.sleep(0.1)
    runner.kill()
    runner.wait()
    listener = PilotListener()
    again = bb.plan(
        experiment.plan.file.path, store=experiment.store.root, data=tmp_path / "data", executor={"slurm": params}
    )
    run = bb.run(again, listeners=[listener])
    assert run.failed == {}
    assert {pilot.name for pilot in listener.pilots} == set(running)
    assert [len(each) for each in ticks(again).values()] == [120, 120]


def test_ctrl_c_cancels_jobs_which_leave_their_checkpoints(planned, cluster):
    class Impatient:
        @hookimpl
        def benchbench_stage_elsewhere(self, elsewhere):
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGINT)

    experiment = planned(1, {"ticks": 600}, jobs=2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            bb.run(experiment, listeners=[Impatient()])
    finally:
        signal.signal(signal.SIGINT, before)
    assert cluster.ask("squeue", "-h", "-o", "%T").split() == []
    (worked,) = ticks(experiment).values()
    assert 1 < len(worked) < 600
    (log,) = (experiment.store.root / "pilots").glob("slurm-*.log")
    assert "told to end" in log.read_text()


def test_work_ends_before_the_limit_of_time_and_another_job_goes_on(planned):
    experiment, listener = (
        planned(1, {"ticks": 60}, jobs=1, time=2, save_seconds=117, options=["--signal=B:TERM@1"]),
        PilotListener(),
    )
    run = bb.run(experiment, listeners=[listener])
    assert run.failed == {}
    (worked,) = ticks(experiment).values()
    assert len(worked) == 60
    assert len(set(worked)) > 1
    assert set(listener.reasons()) == {""}


def test_a_whole_suite_has_the_weights_of_a_local_run(cluster, tiny_suite, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHBENCH_CORES", "1")  # the sums of one thread
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    suite, data = tiny_suite(tmp_path, seeds=[0]), tmp_path / "data"
    there = bb.plan(suite, store=tmp_path / "there", data=data, executor={"slurm": {"jobs": 2, "poll_seconds": 0.5}})
    here = bb.plan(suite, store=tmp_path / "here", data=data, executor="inline", device="cpu")
    runs = [bb.run(each) for each in (there, here)]
    assert [run.failed for run in runs] == [{}, {}]
    assert weights(there) == weights(here)
    ledger = runs[0].tables["ledger"]
    assert ledger.columns[-1] == "queue (h)"
    assert there.store.root.joinpath("pilots").is_dir()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"partition": "mian"}, r"^executor 'slurm': sbatch: invalid partition .*; did you mean 'main'\?$"),
        ({"gres": "gpu:9"}, r"^executor 'slurm': sbatch: .*Requested node configuration is not available"),
        (
            {"partition": "short", "time": 10},
            r"^the cluster will not start a job: Partition(TimeLi|Config).*, with --partition=short --time=10; ask",
        ),
        ({"account": "nobody", "setup": ["exit 3"]}, r"^3 jobs in a row ended before they began a stage: FAILED on n"),
    ],
)
def test_a_demand_that_cannot_be_met_is_one_line(planned, cluster, params, message):
    experiment = planned(1, {"ticks": 1}, **params)
    with pytest.raises(EngineError, match=message):
        bb.run(experiment)
    assert cluster.ask("squeue", "-h").strip() == ""


def test_a_job_with_a_gpu_sees_it_alone(cluster, tmp_path):
    params = SlurmParams(
        gres="gpu:1", cpus=2, poll_seconds=0.1, setup=("echo GPUs $CUDA_VISIBLE_DEVICES cores $SLURM_CPUS_ON_NODE",)
    )
    executor = SlurmExecutor(WorkOrder(tmp_path, ("suite.yaml",), params.model_copy(update={"python": "echo"})))
    executor.start(2)
    while any(pilot.state != "ended" for pilot in executor.pilots()):
        time.sleep(0.2)
    texts = [path.read_text() for path in (tmp_path / "pilots").glob("slurm-*.log")]
    assert texts == ["GPUs 0 cores 2\n-m benchbench work suite.yaml\n"] * 2
