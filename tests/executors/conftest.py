"""A plan of a few tiny stages, and a way to run some of them by an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchbench.executors.base import Assignment, Event, Executor, RunSettings
from benchbench.hardware.devices import Devices
from benchbench.planning.model import Plan, Stage
from benchbench.store import Store

# Losses that write to the log, kill their worker or fail; none adds anything to the sum.
LOSSES = """
import logging, os, pathlib, signal, sys, time
from benchbench import Component, hookimpl

print("loaded by a worker", file=sys.stderr)

@hookimpl
def benchbench_losses():
    for name in ("chatty", "deadly", "broken", "logs", "breaks_device", "deadly_beside", "broken_beside", "paused"):
        yield Component(name, f"{__name__}:{name}")

def chatty(student, teacher, batch):
    print("printed by a loss")
    os.write(2, b"written by a loss\\n")
    return 0 * student.logits.sum()

def deadly(student, teacher, batch):
    os.kill(os.getpid(), signal.SIGKILL)

def broken(student, teacher, batch):
    raise ZeroDivisionError("no such thing")

def breaks_device(student, teacher, batch):
    raise RuntimeError("CUDA error: device-side assert triggered")

def deadly_beside(student, teacher, batch):
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return 0 * student.logits.sum()

def broken_beside(student, teacher, batch):
    if os.environ["RANK"] == "1":
        raise ZeroDivisionError("no such thing")
    return 0 * student.logits.sum()

def paused(student, teacher, batch):
    folder = pathlib.Path(__file__).parent
    if batch.epoch < 0.5:
        (folder / f"paused-{os.environ.get('RANK')}").write_text(str(os.getpid()))
        while not (folder / "go").exists():
            time.sleep(0.01)
    return 0 * student.logits.sum()

def logs(student, teacher, batch):
    logger = logging.getLogger("a_library")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())  # keeps sys.stderr as it is now
    logger.warning("during a stage")
    return 0 * student.logits.sum()
"""
NAMES = ("chatty", "deadly", "broken", "logs", "breaks_device", "deadly_beside", "broken_beside", "paused")
ARMS = {name: {"method": "scratch", "loss": {"ce": 1, name: 1}} for name in NAMES}
ARMS |= {"scratch": {"method": "scratch"}, "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}}}


def devices(num_slots: int, threads: int = 1) -> Devices:
    return Devices("cpu", "a processor", tuple(str(slot) for slot in range(num_slots)), threads)


def assignment(plan: Plan, stage: Stage) -> Assignment:
    needs = {role: (plan.stages[key].kind, key) for role, key in stage.needs.items()}
    return Assignment(stage.key, stage.label, stage.spec, needs)


class Runs:
    """An executor with the stages of a plan."""

    def __init__(self, plan: Plan, store: Store, executor: Executor):
        self.plan, self.store, self.executor = plan, store, executor

    def stage(self, arm: str, seed: int = 0) -> Stage:
        (key,) = {cell.stage for cell in self.plan.cells if (cell.arm, cell.seed) == (arm, seed)}
        return self.plan.stages[key]

    def run(self, slot: str, *stages: Stage) -> list[Event]:
        """Events until all stages have ended."""
        self.executor.submit(slot, [assignment(self.plan, stage) for stage in stages])
        events: list[Event] = []
        self.executor.wait(1.0, events.append)
        while sum(event.name in ("finished", "failed", "broken", "died") for event in events) < len(stages):
            self.executor.wait(1.0, events.append)
        return events


@pytest.fixture
def plugin(tmp_path) -> Path:
    path = tmp_path / "losses.py"
    path.write_text(LOSSES)
    return path


@pytest.fixture
def runs(tiny_suite, plan_of, plugin, tmp_path) -> Callable[..., Iterator[Runs]]:
    """Runs of an executor's class on some slots: `with runs(LocalExecutor, devices(2)) as run`."""

    @contextmanager
    def make(executor: type[Executor], slots: Devices) -> Iterator[Runs]:
        recipe = {"epochs": 1, "batch_size": 20, "image_size": 16, "precision": "exact"}
        suite = tiny_suite(tmp_path, arms=ARMS, recipes={"default": recipe})
        plan = plan_of(suite, plugins=[plugin], devices=slots)
        store = Store(tmp_path / "runs")
        store.open()
        workers = executor(slots, RunSettings(store.root, (plugin,), tmp_path / "data", 0.0, None))
        try:
            yield Runs(plan, store, workers)
        finally:
            workers.close()

    return make
