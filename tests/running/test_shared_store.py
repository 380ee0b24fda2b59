"""Several runs on one store: every stage once, live views of the others, takeovers, and zombies that write nothing."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchbench.executors.stage_progress import StageReporter
from benchbench.hardware.devices import Devices
from benchbench.planning.model import Plan
from benchbench.running.stage_runner import MOST_DEATHS
from benchbench.specs.records import Progress
from benchbench.store import Claims, Store
from benchbench.store.claims import LEASE
from tests.running import shared_store
from tests.running.shared_store import Listener, Run, wait_for

TAUGHT = {"method": "distill", "adapt": ["scratch"]}


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "runs" / "stubs").mkdir(parents=True)
    return tmp_path / "runs"


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path) -> Callable[..., Plan]:
    """A plan of so many arms that are taught, of two seeds each, and one from scratch; in as many slots as asked."""

    def make(count: int = 1, slots: int = 1) -> Plan:
        arms = {f"kd {weight}": {**TAUGHT, "loss": {"ce": 1, "kd": weight}} for weight in range(1, count + 1)}
        path = tiny_suite(tmp_path, arms={**arms, "scratch": {"method": "scratch"}}, data_seed=0)
        return plan_of(path, devices=Devices("cpu", "a processor", tuple(map(str, range(slots))), 1))

    return make


@pytest.fixture
def run_of(root) -> Iterator[Callable[..., Run]]:
    """Runs in processes of their own, ended with the test."""
    runs: list[Run] = []

    def make(plan: Plan, **options) -> Run:
        runs.append(Run(plan, root, **options))
        return runs[-1]

    yield make
    for each in runs:
        each.kill()


def starts(root: Path) -> Counter[str]:
    """Starts of every stage, by key."""
    return Counter(path.name.split("-")[0] for path in (root / "starts").glob("*"))


def claimed(root: Path) -> set[str]:
    """Stages that have claims, or had some when they were given up."""
    return {path.name for path in (root / "claims").iterdir() if not path.name.startswith((".", "run-"))}


def stage_of(plan: Plan, arm: str) -> str:
    return next(cell.stage for cell in plan.cells if (cell.arm, cell.seed) == (arm, 0))


def test_eight_that_start_together_run_every_stage_once(planned, run_of, root):
    plan = planned(count=5)
    runs = [run_of(plan, start=time.time() + 1.0) for _ in range(8)]
    outcomes = [each.outcome() for each in runs]
    assert starts(root) == Counter(list(plan.stages))
    assert sorted(key for outcome in outcomes for key in outcome.ran) == sorted(plan.stages)
    assert [outcome.failed for outcome in outcomes] == [{}] * 8
    for outcome in outcomes:
        assert sorted([*outcome.ran, *outcome.elsewhere, *outcome.reused]) == sorted(plan.stages)
    assert claimed(root) == set()
    found_work = [outcome for outcome in outcomes if len(outcome.reused) < len(plan.stages)]  # one may come too late
    assert len(list((root / "ledger").iterdir())) == len(found_work)


def hanging(planned, run_of, root, **options) -> tuple[Plan, str, Path, Run]:
    """A plan, a stage of it that hangs in a run of its own, the file that lets it hang, and that run."""
    plan = planned()
    key, stub = stage_of(plan, "scratch"), root / "stubs" / "scratch"
    stub.write_text("hangs")
    run = run_of(plan, **options)
    wait_for(lambda: starts(root)[key] and Store(root).stage("cell", key).read_state().status == "running")
    return plan, key, stub, run


def test_what_runs_elsewhere_shows_live(planned, run_of, root):
    plan, key, stub, other = hanging(planned, run_of, root)
    folder = Store(root).stage("cell", key)
    StageReporter(folder, lambda progress: None)(Progress(done=3, total=4))
    listener = Listener(lambda news: stub.unlink() if news.progress is not None else None)
    outcome = shared_store.run(plan, root, listener)
    assert other.outcome().failed == outcome.failed == {}
    assert key in outcome.elsewhere
    assert set(starts(root).values()) == {1}
    of_it = [news for each, news in listener.news if each == key]
    assert [news.status for news in of_it] == ["running", "running", "finished"]
    assert of_it[1].progress == Progress(done=3, total=4)
    assert of_it[2].record.label == f"by {other.pid}"
    assert {news.holder.split()[1] for news in of_it} == {str(other.pid)}


def test_after_a_kill_another_goes_on_without_delay(planned, run_of, root):
    plan, key, stub, other = hanging(planned, run_of, root)
    other.kill()
    stub.unlink()
    begin = time.monotonic()
    outcome = shared_store.run(plan, root)
    assert time.monotonic() - begin < LEASE / 10
    assert (outcome.failed, outcome.elsewhere) == ({}, [])
    assert starts(root)[key] == 2
    assert claimed(root) == set()


def test_one_that_waits_takes_over_from_one_that_is_killed(planned, run_of, root):
    plan, key, stub, first = hanging(planned, run_of, root)
    second = run_of(plan)
    wait_for(lambda: len(list((root / "claims").glob("run-*"))) == 2)
    first.kill()
    stub.unlink()
    assert key in second.outcome().ran


@pytest.mark.parametrize("saves", [False, True])
def test_a_stage_that_ends_every_process_fails_unless_it_comes_further(planned, run_of, root, saves):
    plan, key, stub, run = hanging(planned, run_of, root)
    folder = Store(root).stage("cell", key)
    for deaths in range(1, MOST_DEATHS + 1):
        wait_for(lambda count=deaths, pid=run.pid: starts(root)[key] == count and folder.read_state().pid == pid)
        if saves and deaths == 2:
            folder.checkpoint.touch()
        run.kill()
        if deaths < MOST_DEATHS:
            run = run_of(plan)
    stub.unlink()
    outcome = shared_store.run(plan, root)
    if saves:
        assert outcome.failed == {}
        return
    reason = (
        f"{MOST_DEATHS} processes have ended while they had it, and none came to another checkpoint; "
        "run the same command again to try it again"
    )
    assert outcome.failed == {key: reason}  # and not the other of its cohort
    assert folder.read_state().reason == reason
    assert starts(root)[key] == MOST_DEATHS
    assert shared_store.run(plan, root).failed == {}
    assert claimed(root) == set()


def test_what_fails_elsewhere_is_not_run_again_by_those_that_saw_it(planned, run_of, root):
    plan, _, stub, other = hanging(planned, run_of, root)
    fails = root / "fails"
    fails.write_text("fails")
    listener = Listener(lambda news: fails.replace(stub) if fails.exists() else None)
    outcome = shared_store.run(plan, root, listener)
    both = {stage_of(plan, "scratch"), *(cell.stage for cell in plan.cells if cell.arm == "scratch")}
    assert outcome.failed == other.outcome().failed == dict.fromkeys(both, "it was told to")
    assert [starts(root)[each] for each in both] == [1, 1]
    stub.unlink()
    assert set(shared_store.run(plan, root).ran) == both  # one that begins later tries it again


def test_a_zombie_writes_nothing_that_counts(planned, run_of, root, monkeypatch):
    """Stopped past its lease, while another finishes what it had; then it goes on."""
    monkeypatch.setenv("BENCHBENCH_LEASE_SECONDS", "1")
    plan, key, stub, zombie = hanging(planned, run_of, root)
    zombie.signal(signal.SIGSTOP)
    stub.unlink()
    outcome = shared_store.run(plan, root)
    assert key in outcome.ran
    folder = Store(root).stage("cell", key)
    content = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert folder.done().label == f"by {os.getpid()}"
    zombie.signal(signal.SIGCONT)
    late = zombie.outcome()
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == content
    assert late.failed == {}
    assert key in late.elsewhere
    assert key not in late.ran


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ValueError])
def test_an_end_gives_everything_back(planned, root, monkeypatch, ending):
    plan = planned()

    def ends(self, *arguments):
        raise ending

    monkeypatch.setattr(shared_store.StubExecutor, "_run", ends)
    with pytest.raises(ending):
        shared_store.run(plan, root)
    monkeypatch.undo()
    assert [path.name for path in (root / "claims").glob("*/*")] == ["1.released"]
    assert len(shared_store.run(plan, root).ran) == len(plan.stages)
    assert claimed(root) == set()


def test_the_end_of_the_time(planned, run_of, root):
    plan, _, stub, other = hanging(planned, run_of, root)
    outcome = shared_store.run(plan, root, max_seconds=0.5)  # while it waits for the other
    assert (outcome.stopped, outcome.failed) == (True, {})
    stub.unlink()
    assert not other.outcome().stopped


def test_stages_that_do_not_fit_into_the_time_are_not_begun(planned, root, monkeypatch):
    plan = planned()
    monkeypatch.setattr("benchbench.costs.prediction.Predictor.hours", lambda self, key: 0.1)
    outcome = shared_store.run(plan, root, max_seconds=100)
    assert (outcome.ran, outcome.stopped) == ([], True)
    # They go on from checkpoints, and there is time for a part of them.
    outcome = shared_store.run(plan, root, max_seconds=300)
    assert (len(outcome.ran), outcome.stopped) == (len(plan.stages), False)


def test_the_smaller_ones_are_begun(planned, root, monkeypatch):
    plan = planned()
    large = [cell.stage for cell in plan.cells if cell.arm != "scratch"]
    monkeypatch.setattr(
        "benchbench.costs.prediction.Predictor.hours", lambda self, key: 10.0 if key in large else 0.001
    )
    monkeypatch.setattr("benchbench.running.stage_runner.RESUMABLE", ())
    outcome = shared_store.run(plan, root, max_seconds=300)
    assert set(outcome.ran) == set(plan.stages) - set(large)
    assert outcome.stopped


def test_a_cohort_is_shared_by_all_that_are_there(planned, run_of, root):
    """One run would take all of its cells at once, and leave none to the others."""
    plan = planned(count=4)
    with_others = [Claims(root, f"other{number}", slots=1) for number in range(3)]
    for number, claims in enumerate(with_others):
        claims.take("run", f"other{number}")
    units = []
    submit = shared_store.StubExecutor.submit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            shared_store.StubExecutor,
            "submit",
            lambda self, slot, stages: units.append(len(stages)) or submit(self, slot, stages),
        )
        shared_store.run(plan, root)
    assert max(units) == 3  # of ten that are ready
