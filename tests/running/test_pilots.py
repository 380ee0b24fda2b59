"""A run that only watches: pilots as there is work for, their ends, and what becomes of the stages they had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from benchbench import hookimpl
from benchbench.components import Component
from benchbench.executors.pilots import EngineError, PilotExecutor, WorkOrder
from benchbench.hardware.devices import Devices
from benchbench.plugins import load_plugins
from benchbench.running import elsewhere, pilots
from benchbench.running.pilots import run_on_pilots
from benchbench.specs.pilots import Pilot
from benchbench.store import Claim, Claims, StageState, Store
from benchbench.store.processes import Process
from benchbench.testing.sample import sample_record

# A process of another machine, of which nothing can be told.
PROCESS = Process("node1", 4711, "", "", "")


@dataclass
class Job:
    """A job of the engine below: it takes a stage when it is first looked at, and ends when it is looked at again."""

    name: str
    claims: Claims | None = None
    claim: Claim | None = None
    state: str = "queued"
    reason: str = ""
    blames: bool = False


@dataclass
class Script:
    """The behaviour of a test's jobs.

    Attributes:
        end: of each job: "finish" a stage, "fail" it, "die" with it, or "leave" without any.
        hopeless: the reason for which none starts.
        silent: looks at the engine that it does not answer.
    """

    end: Callable[[int], str] = lambda index: "finish"
    hopeless: str = ""
    silent: int = 0
    jobs: list[Job] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    most_alive: int = 0


class Engine(PilotExecutor):
    script: ClassVar[Script]
    most, demand = 3, ("a test",)

    def start(self, count):
        for _ in range(count):
            self.script.jobs.append(Job(f"j{len(self.script.jobs)}"))

    def pilots(self):
        if self.script.silent:
            self.script.silent -= 1
            raise EngineError("it does not answer")
        alive = [job for job in self.script.jobs if job.state != "ended"]
        self.script.most_alive = max(self.script.most_alive, len(alive))
        for job in alive:
            self.step(job)
        hopeless = bool(self.script.hopeless)
        return [Pilot(job.name, job.state, job.reason, hopeless, job.blames) for job in self.script.jobs]

    def step(self, job):
        if self.script.hopeless:
            job.reason = self.script.hopeless
        elif job.state == "queued":
            job.state = "running"
            self.take(job)
        else:
            job.state = "ended"
            self.end_stage(job, self.script.end(self.script.jobs.index(job)))

    def take(self, job):
        store = self.order.store
        job.claims = Claims(store, job.name)
        for key in (path.name for path in (store / "todo").iterdir()):
            if not (store / "cell" / key / "record.json").exists():
                claim = job.claims.take("cell", key)
                if isinstance(claim, Claim):
                    job.claim = claim
                    return

    def end_stage(self, job, end):
        if end == "die":
            job.reason, job.blames = "NODE_FAIL on n1", True
        elif job.claim is not None and end in ("finish", "fail"):
            folder = Store(self.order.store).stage(*job.claim.folder.name.split("-"))
            folder.path.mkdir(parents=True, exist_ok=True)
            if end == "finish":
                folder.write_record(sample_record())
            else:
                folder.write_state(StageState(status="failed", reason="no memory"))
            job.claims.release(job.claim, finished=end == "finish")

    def withdraw(self):
        self.script.calls.append("withdraw")

    def end(self, names):
        self.script.calls.append(f"end {' '.join(names)}")
        for job in self.script.jobs:
            if job.name in names:
                job.state = "ended"

    def cancel(self, seconds):
        self.script.calls.append("cancel")

    def leave(self, seconds):
        self.script.calls.append("leave")


class Listener:
    def __init__(self):
        self.pilots = []

    @hookimpl
    def benchbench_pilot_changed(self, pilot):
        self.pilots.append(pilot)


@pytest.fixture
def script(monkeypatch) -> Script:
    script = Script()
    monkeypatch.setattr(Engine, "script", script, raising=False)
    monkeypatch.setattr(pilots, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(elsewhere, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(elsewhere, "LOOK_SHARE", 10.0)
    return script


@pytest.fixture
def run(script, tiny_suite, plan_of, tmp_path, monkeypatch):
    """Runs so many cells by the engine: `run(4)`; the outcome, and what a listener heard."""
    monkeypatch.setattr("benchbench.store.claims.this_process", lambda: _next_process(script))

    def call(count: int):
        suite = tiny_suite(tmp_path, seeds=list(range(count)), teachers=None, arms={"scratch": {"method": "scratch"}})
        plan = plan_of(suite, devices=Devices("cpu", "a processor", ("0", "1", "2"), 1))
        store = tmp_path / "runs"
        (store / "todo").mkdir(parents=True)
        for key in plan.stages:
            (store / "todo" / key[:16]).touch()
        host, listener = load_plugins(), Listener()
        host.manager.register(listener)
        engine = Component("engine", f"{__name__}:Engine")
        outcome = run_on_pilots(plan, host, Store(store), engine, WorkOrder(store, ("suite.yaml",)))
        return outcome, listener.pilots

    return call


def _next_process(script):
    """The process of the job that is about to take a claim; the runner's own has no job."""
    job = next((each.name for each in script.jobs if each.state == "running" and each.claims is None), "")
    return replace(PROCESS, job=job)


def test_as_many_pilots_as_there_is_work_for(run, script):
    outcome, heard = run(5)
    assert (len(outcome.elsewhere), outcome.failed, script.most_alive) == (5, {}, 3)
    assert {pilot.state for pilot in heard} == {"queued", "running", "ended"} - {"queued"}
    assert script.calls == ["withdraw"]


def test_a_stage_that_ended_with_its_pilot_asks_for_no_other(run, script, monkeypatch):
    """Between the look at the store, which is not taken again for a while, and that at the engine."""
    monkeypatch.setattr(elsewhere, "LOOK_SECONDS", 0.05)
    outcome, _ = run(3)
    assert (len(outcome.elsewhere), [job.name for job in script.jobs]) == (3, ["j0", "j1", "j2"])


def test_nothing_is_started_where_all_is_done(run, script, tmp_path):
    run(2)
    script.jobs.clear()
    (tmp_path / "runs" / "todo").rename(tmp_path / "old")
    outcome, heard = run(2)
    assert (len(outcome.reused), heard, script.jobs) == (2, [], [])


def test_a_failure_between_two_looks_is_heard_of(run, script):
    script.end = lambda index: "fail" if index == 0 else "finish"
    outcome, _ = run(2)
    assert list(outcome.failed.values()) == ["no memory"]
    assert len(outcome.elsewhere) == 1


def test_stages_of_a_lost_node_are_free_at_once(run, script):
    script.end = lambda index: "die" if index < 2 else "finish"
    outcome, heard = run(2)
    assert (len(outcome.elsewhere), outcome.failed) == (2, {})
    assert [pilot.reason for pilot in heard if pilot.state == "ended"][:2] == ["NODE_FAIL on n1"] * 2


def test_a_stage_that_loses_three_nodes_fails_with_the_reason(run, script, tmp_path):
    script.end = lambda index: "die"
    outcome, _ = run(1)
    ((key, reason),) = outcome.failed.items()
    assert reason == "its job ended 3 times; the last: NODE_FAIL on n1"
    assert Store(tmp_path / "runs").stage("cell", key).read_state().reason == reason
    assert len(script.jobs) == 3


def test_pilots_that_never_begin_a_stage_end_the_run(run, script):
    script.end = lambda index: "leave"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "take", lambda self, job: None)
        with pytest.raises(EngineError, match="3 jobs in a row ended before they began a stage: it found nothing"):
            run(1)
    assert script.calls == ["cancel"]


def test_a_demand_that_the_cluster_cannot_meet(run, script):
    script.hopeless = "PartitionTimeLimit"
    with pytest.raises(EngineError, match=r"the cluster will not start a job: PartitionTimeLimit; ask for what it has"):
        run(2)
    assert script.calls == ["cancel"]


def test_a_pilot_without_work_gives_its_devices_back(run, script, monkeypatch):
    """While another runs the last stage, and stays."""
    monkeypatch.setattr(pilots, "IDLE_SECONDS", 0.02)

    def step(engine, job):
        if job.state == "queued":
            job.state = "running"
            engine.take(job)
        elif job is not script.jobs[0]:  # the other has a stage until this one has been told to end
            if "end j0" in script.calls:
                job.state = "ended"
                engine.end_stage(job, "finish")
        elif job.claim is not None:
            engine.end_stage(job, "finish")
            job.claim = None

    monkeypatch.setattr(Engine, "step", step)
    outcome, _ = run(2)
    assert len(outcome.elsewhere) == 2
    assert script.calls == ["end j0", "withdraw"]


def test_an_engine_that_does_not_answer_is_asked_again(run, script):
    script.silent = 3
    outcome, heard = run(1)
    assert len(outcome.elsewhere) == 1
    assert [pilot.reason for pilot in heard].count("it does not answer") == 1
