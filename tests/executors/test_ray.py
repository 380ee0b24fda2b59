"""Suites on a real Ray of several nodes: stages that sleep and write, and nodes that come and go."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchbench as bb
from benchbench.executors import ray as ray_executor
from benchbench.executors.pilots import EngineError, WorkOrder
from benchbench.executors.ray import RayExecutor
from benchbench.executors.ray_params import RayParams
from tests.executors import ray_cluster as ray
from tests.executors.pilot_listener import PilotListener
from tests.stores import weights

REASON = ray.obstacle()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.whole_run,
    pytest.mark.skipif(bool(REASON), reason=f"no Ray: {REASON}"),
]
REPO = Path(__file__).parents[2]
FIRST, SECOND = "127.0.0.3", "127.0.0.4"
# In place of `benchbench work`: stages that sleep.
STUB = """
import sys
from benchbench.hardware.lifetime import end_with_parent
end_with_parent(int(sys.argv.pop(1)))
from tests.executors.stub_work import main
main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ray.RayCluster]:
    """A head, and one node of two cores and an invented GPU."""
    with contextlib.ExitStack() as stack:
        # Sockets have short names.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True))
        try:
            cluster = stack.enter_context(ray.ray_cluster(Path(folder), {"PYTHONPATH": str(REPO)}))
            cluster.add_node(FIRST, cpus=2, gpus=1)
        except ray.StartError as error:
            pytest.skip(str(error))
        yield cluster


@pytest.fixture
def planned(cluster, tiny_suite, tmp_path, monkeypatch):
    def make(seeds: int, content: dict, **params):
        monkeypatch.setattr(ray_executor, "CHILD", STUB)
        store = tmp_path / "runs"
        store.mkdir()
        (store / "stub.json").write_text(json.dumps(content))
        suite = tiny_suite(tmp_path, seeds=list(range(seeds)), teachers=None, arms={"scratch": {"method": "scratch"}})
        return bb.plan(suite, store=store, executor={"ray": {"address": cluster.address, **params}})

    return make


def ticks(experiment) -> list[list[str]]:
    """The workers of each stage, tick by tick."""
    folders = [experiment.store.stage(stage.kind, key).path for key, stage in experiment.plan.stages.items()]
    return [(folder / "ticks").read_text().split() for folder in folders]


def test_workers_share_the_stages(planned):
    experiment, listener = planned(4, {"ticks": 5, "together": 2}), PilotListener()
    run = bb.run(experiment, listeners=[listener])
    reasons = {reason.partition(" on ")[0] for reason in listener.reasons()}
    assert (run.failed, len(run.outcome.elsewhere), reasons) == ({}, 4, {""})
    worked = ticks(experiment)
    assert [len(each) for each in worked] == [5] * 4
    assert len({name for each in worked for name in each}) == 2


def test_a_part_of_a_gpu(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ray_executor,
        "CHILD",
        "import os\nprint(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['BENCHBENCH_GPU_SHARE'], flush=True)",
    )
    executor = RayExecutor(WorkOrder(tmp_path, (), RayParams(address=cluster.address, gpus=0.5)))
    try:
        assert executor.most == 2
        executor.start(2)
        while any(pilot.state != "ended" for pilot in executor.pilots()):
            time.sleep(0.1)
    finally:
        executor.close()
    assert [path.read_text() for path in (tmp_path / "pilots").glob("ray-*.log")] == ["0 0.5\n"] * 2


def test_a_demand_that_cannot_be_met_is_refused_with_what_there_is(planned, cluster):
    experiment = planned(1, {"ticks": 1}, gpus=4)
    message = rf"^executor 'ray': no node has 1 CPU, 4 GPU; the cluster has .*{FIRST}: 2 CPU, 1 GPU"
    with pytest.raises(EngineError, match=message):
        bb.run(experiment)


def test_no_cluster(planned):
    experiment = planned(1, {"ticks": 1}, address="127.0.0.9:1")
    with pytest.raises(EngineError, match=r"^executor 'ray': no cluster at 127\.0\.0\.9:1"):
        bb.run(experiment)


def test_a_whole_suite_has_the_weights_of_a_local_run(cluster, tiny_suite, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHBENCH_CORES", "1")  # the sums of one thread
    suite, data = tiny_suite(tmp_path, seeds=[0]), tmp_path / "data"
    there = bb.plan(
        suite, store=tmp_path / "there", data=data, executor={"ray": {"address": cluster.address, "jobs": 2}}
    )
    here = bb.plan(suite, store=tmp_path / "here", data=data, executor="inline", device="cpu")
    runs = [bb.run(each) for each in (there, here)]
    assert [run.failed for run in runs] == [{}, {}]
    assert weights(there) == weights(here)
    assert there.store.root.joinpath("pilots").is_dir()


def test_nodes_leave_and_join(planned, cluster):
    """The work of a node that dies goes on from its checkpoint on one that joins."""

    def lose(pilot) -> None:
        if pilot.state == "running" and FIRST in cluster.nodes:
            time.sleep(3)
            cluster.kill_node(FIRST)
            cluster.add_node(SECOND, cpus=2)

    experiment, listener = planned(1, {"ticks": 80}, jobs=1), PilotListener(lose)
    run = bb.run(experiment, listeners=[listener])
    assert run.failed == {}
    (worked,) = ticks(experiment)
    assert len(worked) == 80
    assert len(set(worked)) == 2
    assert any("died" in reason for reason in listener.reasons())
