"""Costs of commands and workers as whole processes: seconds of processor time, children included."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchbench.executors.base import Assignment, RunSettings
from benchbench.executors.local import LocalExecutor
from benchbench.hardware.devices import Devices
from benchbench.store import Store

CELLS, ROUNDS = 100, 5
# Two networks of timm that are made for tests.
SUITE = {
    "name": "startup",
    "seeds": list(range(CELLS // 4)),
    "data": {"cifar": {"source": "cifar10_subset", "per_class": 4}},
    "students": {"small": {"model": "timm/test_efficientnet"}},
    "teachers": {"big": {"model": "timm/test_resnet", "adapt": ["scratch"]}},
    "recipes": {"default": {"epochs": 1, "batch_size": 20, "image_size": 32, "precision": "exact"}},
    "arms": {
        "scratch": {"method": "scratch"},
        "KD": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        "SP": {"method": "distill", "loss": {"ce": 1, "sp": 1}},
        "RKD": {"method": "distill", "loss": {"ce": 1, "rkd": 1}},
    },
}


@pytest.fixture
def suite(tmp_path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(SUITE))  # JSON is YAML
    return path


@pytest.fixture
def command(tmp_path) -> Callable[..., float]:
    """Runs `benchbench` with these arguments, with a cache of its own by name; gives its seconds."""

    def run(*arguments: object, cache: str = "cache") -> float:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / cache)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call = [sys.executable, "-m", "benchbench", *map(str, arguments)]
        subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def repeated(benchmark, run: Callable[[int], float], rounds: int = ROUNDS) -> list[float]:
    found: list[float] = []
    benchmark.pedantic(lambda: found.append(run(len(found))), rounds=rounds)
    return found


@pytest.mark.parametrize("name", ["--help", "list", "plugins"])
def test_commands(benchmark, command, report, name):
    command(name)
    report("start-up, s", f"benchbench {name}", repeated(benchmark, lambda _: command(name)))


@pytest.mark.parametrize("known", [False, True], ids=["networks unknown", "networks known"])
def test_plan_of_a_hundred_cells(benchmark, command, suite, report, known):
    """A plan's networks are built once to see what they are, and remembered."""
    if known:
        command("plan", suite)
    rounds = ROUNDS if known else 3
    found = repeated(benchmark, lambda n: command("plan", suite, cache="cache" if known else f"cache{n}"), rounds)
    case = f"benchbench plan, {CELLS} cells, networks {'known' if known else 'unknown'}"
    report("start-up, s", case, found, 1 if known else None, at_most=True)


def test_a_worker_that_stays(benchmark, command, suite, report, tmp_path):
    """Cells of one suite: in one run with one worker, or each in a run, and so a worker, of its own."""
    seeds, arms = [0, 1, 2, 3], '{"scratch": {"method": "scratch"}}'

    def run(store: str, chosen: list[int]) -> float:
        where = ["--store", tmp_path / store, "--device", "cpu", "--jobs", 1]
        parts = ["--set", f"seeds={chosen}", "--set", f"arms={arms}", "--set", "teachers={}"]
        return command("run", suite, *where, *parts)

    run("first", [0])  # the networks are known from here on
    together: list[float] = []
    apart: list[float] = []

    def turn() -> None:
        together.append(run(f"together{len(together)}", seeds) / len(seeds))
        apart.append(sum(run(f"apart{len(apart)}", [seed]) for seed in seeds) / len(seeds))

    benchmark.pedantic(turn, rounds=3)
    report("a tiny cell, s", f"{len(seeds)} cells by one worker", together)
    report("a tiny cell, s", "a fresh process for each", apart)


def test_a_forked_worker(benchmark, suite, report, plan_of, tmp_path):
    """Wall-clock seconds from a cell's submission to its worker's readiness, for a worker that is forked and one that
    is spawned; the fork server has its imports already."""
    arms, workers = '{"scratch": {"method": "scratch"}}', 6
    slots = Devices("cpu", "a processor", tuple(map(str, range(workers))), 1)
    plan = plan_of(suite, f"arms={arms}", "teachers={}", f"seeds={list(range(2 * workers))}", devices=slots)
    stages = iter(plan.stages.values())
    store = Store(tmp_path / "runs")
    store.open()

    def seconds(executor: LocalExecutor, slot: str) -> float:
        begin, events = time.perf_counter(), []
        stage = next(stages)
        executor.submit(slot, [Assignment(stage.key, stage.label, stage.spec, {})])
        ready = None
        while not events or events[-1].name not in ("finished", "failed", "died"):
            executor.wait(1.0, events.append)
            if ready is None and any(event.name == "ready" for event in events):
                ready = time.perf_counter() - begin
        assert events[-1].name == "finished", events[-1].reason
        return ready

    def starts(devices: Devices, count: int) -> list[float]:
        executor = LocalExecutor(devices, RunSettings(store.root, (), tmp_path, 30.0, None))
        with contextlib.closing(executor):
            return [seconds(executor, slot) for slot in devices.slots[:count]]

    forked: list[float] = []
    benchmark.pedantic(lambda: forked.extend(starts(slots, workers)[1:]), rounds=1)
    spawned = [starts(replace(slots, slots=("0",)), 1)[0] for _ in range(2)]
    report("start of a worker, s", "forked, after the first", forked, 0.3, at_most=True)
    report("start of a worker, s", "spawned", spawned)
