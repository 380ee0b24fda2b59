"""Start-up on clusters on this machine: wall-clock seconds of a job until it works, and of a stage beside its own.

Stages sleep for a tenth of a second; claims, ledger and the engine are the real ones. One job does all stages.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import benchbench as bb
from benchbench.executors import ray as ray_executor
from tests.executors import ray_cluster, slurm_cluster
from tests.executors.stub_work import TICK
from tests.executors.test_ray import STUB

REPO = Path(__file__).parents[2]
FEW, MANY, ROUNDS = 4, 44, 3
Engine = dict[str, Any]


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Iterator[Engine]:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {sys.executable} {REPO}/tests/executors/stub_work.py "$@"\n')
    python.chmod(0o755)
    with slurm_cluster.slurm_cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        yield {"slurm": {"partition": "main", "python": str(python), "poll_seconds": 0.2, "jobs": 1}}


@pytest.fixture
def ray(monkeypatch) -> Iterator[Engine]:
    monkeypatch.setattr(ray_executor, "CHILD", STUB)
    with (
        tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder,  # sockets have short names
        ray_cluster.ray_cluster(Path(folder), {"PYTHONPATH": str(REPO)}) as cluster,
    ):
        cluster.add_node("127.0.0.3", cpus=2)
        yield {"ray": {"address": cluster.address, "jobs": 1}}


@pytest.mark.parametrize(("engine", "obstacle"), [("slurm", slurm_cluster.obstacle), ("ray", ray_cluster.obstacle)])
def test_start_up(benchmark, report, request, tiny_suite, tmp_path, engine: str, obstacle: Callable[[], str]):
    if reason := obstacle():
        pytest.skip(reason)
    executor: Engine = request.getfixturevalue(engine)

    def seconds(stages: int, name: str) -> float:
        store = tmp_path / name
        store.mkdir()
        (store / "stub.json").write_text(json.dumps({"ticks": 1}))
        arms = {"scratch": {"method": "scratch"}}
        suite = tiny_suite(store, seeds=list(range(stages)), teachers=None, arms=arms)
        experiment = bb.plan(suite, store=store, executor=executor)
        began = time.perf_counter()
        assert bb.run(experiment).failed == {}
        return time.perf_counter() - began

    stage: list[float] = []
    job: list[float] = []

    def turn() -> None:
        few, many = (seconds(count, f"{count}-{len(stage)}") for count in (FEW, MANY))
        each = (many - few) / (MANY - FEW)
        stage.append(each - TICK)
        job.append(few - FEW * each)

    benchmark.pedantic(turn, rounds=ROUNDS)
    report("a stage beside its own work, s", engine, stage)
    report("a job, from the run's start to its first stage and to its end, s", engine, job)
