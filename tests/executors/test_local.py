"""Worker processes: forked for several slots of a CPU and spawned elsewhere, with the same numbers and endings.

They come from the tests' server, where torch is imported, and so do the fork servers. As for users, one is spawned for
the finished run of `tests/running`, and `tests/test_packaging.py` starts a fork server.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from benchbench.executors.inline import InlineExecutor
from benchbench.executors.local import LocalExecutor, worker_environment
from benchbench.hardware.devices import Devices
from benchbench.store import Store
from tests.executors.conftest import Runs, devices
from tests.forked import ForkedProcess, forked_workers
from tests.hardware.test_lifetime import wait_for_end

pytestmark = pytest.mark.whole_run


@pytest.fixture
def forked() -> Iterator[None]:
    with forked_workers():
        yield


def results(run: Runs, arms: list[str], slots: Sequence[str]) -> list[tuple]:
    """Results of cells and of the teacher that one needs, on some slots in turn."""
    cells = [run.stage(arm) for arm in arms]
    stages = [run.plan.stages[key] for cell in cells for key in cell.needs.values()] + cells
    results = []
    for index, stage in enumerate(stages):
        events = run.run(slots[index % len(slots)], stage)
        assert events[-1].name == "finished", events[-1].reason
        record = run.store.stage(stage.kind, stage.key).done()
        assert record.environment.threads == run.executor.devices.threads
        results.append((record.key, record.metrics, record.weights_sha256))
    return results


def check_logs(run: Runs, threads: int) -> None:
    """Output goes to the log of the stage, or to that of the slot."""
    stage = run.stage("chatty")
    run.run("0", stage)
    log = run.store.stage("cell", stage.key).log.read_text()
    assert log.startswith(f"attempt 1 on cpu, {threads} threads\n")
    assert "printed by a loss" in log
    assert "written by a loss" in log
    assert (run.store.root / "logs" / "run.worker-0.log").read_text() == "loaded by a worker\n"


def read_pid(run: Runs, arm: str, seed: int = 0) -> int:
    """The worker's process of a stage, which left its number when it failed."""
    pid = run.store.stage("cell", run.stage(arm, seed).key).read_state().pid
    assert pid is not None
    return pid


def check_deaths(run: Runs, threads: int) -> tuple[int, int]:
    """A worker stays for many stages, and is replaced when it dies; gives the processes of both."""
    run.run("0", run.stage("broken"))
    first = read_pid(run, "broken")
    events = run.run("0", run.stage("deadly"))
    assert [event.name for event in events][-1] == "died"
    assert events[-1].reason == ("its worker process was killed by SIGKILL; the system may have run out of memory")
    assert read_pid(run, "deadly") == first
    run.run("0", run.stage("broken", seed=1))
    second = read_pid(run, "broken", seed=1)
    assert second != first
    assert run.run("0", run.stage("scratch", seed=1))[-1].name == "finished"
    log = run.store.stage("cell", run.stage("deadly").key).log.read_text()
    assert log.startswith(f"attempt 1 on cpu, {threads} threads\n")
    return first, second


@pytest.mark.parametrize("num_slots", [1, 2], ids=["spawned", "forked"])
def test_workers_end_as_inline_and_are_replaced_when_they_die(forked, runs, tmp_path, num_slots, capfd):
    """With two threads, training starts a pool of them, which a fork would lose."""
    arms, threads = ["distil", "scratch"], 2
    with runs(InlineExecutor, devices(1, threads)) as run:
        expected = results(run, arms, ("0",))
    assert len(expected) == 3
    (tmp_path / "runs").rename(tmp_path / "inline")
    capfd.readouterr()
    with runs(LocalExecutor, devices(num_slots, threads)) as run:
        assert results(run, arms, run.executor.devices.slots[:2]) == expected
        check_logs(run, threads)
        pids = check_deaths(run, threads)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "by a" not in "".join(capfd.readouterr()).replace("loaded by a worker", "")  # that is of the plan


@pytest.mark.parametrize("num_slots", [1, 2], ids=["spawned", "forked"])
def test_a_worker_whose_device_is_broken_is_replaced(forked, runs, num_slots):
    with runs(LocalExecutor, devices(num_slots)) as run:
        stage = run.stage("breaks_device")
        pids = []
        for _ in range(2):
            events = run.run("0", stage)
            assert [event.name for event in events if event.name != "progress"] == ["started", "ready", "broken"]
            assert events[-1].reason.startswith("RuntimeError: CUDA error: device-side assert triggered (traceback in ")
            pids.append(read_pid(run, "breaks_device"))
        assert pids[0] != pids[1]
        assert run.run("0", run.stage("scratch"))[-1].name == "finished"
        folder = run.store.stage("cell", stage.key)
        assert (folder.read_state().status, folder.read_state().attempts) == ("failed", 2)
        assert folder.log.read_text().count("in breaks_device") == 2


def test_a_fork_server_that_dies_is_replaced_by_spawned_workers(forked, runs):
    with runs(LocalExecutor, devices(2)) as run:
        run.run("0", run.stage("broken"))
        pid, server = read_pid(run, "broken"), run.executor._server._process
        server.kill()
        server.wait()
        assert run.run("1", run.stage("scratch"))[-1].name == "finished"
        assert run.run("0", run.stage("scratch", seed=1))[-1].name == "finished"
    wait_for_end(pid)  # a worker whose server is gone ends too


def test_a_gpu_is_never_used_by_a_forked_worker(tmp_path):
    for slots in (("0",), ("0", "0.1"), ("0", "1")):
        assert not LocalExecutor(Devices("cuda", "a board", slots, 1), None)._forks
    assert LocalExecutor(devices(2), None)._forks


DRIVER = """
import sys, time
from pathlib import Path
from benchbench.executors.base import Assignment, RunSettings
from benchbench.executors.local import LocalExecutor, worker_environment
from benchbench.hardware.devices import Devices
from benchbench.planning.expand import make_plan
from benchbench.plugins import load_plugins
from benchbench.store import Store
from benchbench.suite.file import load_suite

folder, num_slots = Path(sys.argv[1]), int(sys.argv[2])
devices = Devices("cpu", "a processor", tuple(map(str, range(num_slots))), 1)
plan = make_plan(load_suite(folder / "suite.yaml"), load_plugins().registry, devices, folder)
store = Store(folder / "runs")
store.open()
executor = LocalExecutor(devices, RunSettings(store.root, (), folder, 30.0, None))
for slot, stage in zip(devices.slots, plan.stages.values()):
    executor.submit(slot, [Assignment(stage.key, stage.label, stage.spec, {})])
time.sleep(600)
"""


@pytest.mark.parametrize("num_slots", [1, 2], ids=["spawned", "forked"])
def test_workers_end_with_a_driver_that_is_killed(tiny_suite, tmp_path, num_slots):
    recipes = {"default": {"epochs": 10000, "batch_size": 20, "image_size": 32, "precision": "exact"}}
    tiny_suite(tmp_path, teachers=None, arms={"scratch": {"method": "scratch"}}, recipes=recipes)
    driver = ForkedProcess([sys.executable, "-c", DRIVER, tmp_path, num_slots])
    store = Store(tmp_path / "runs")
    try:
        pids = wait_for_workers(store, num_slots, driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    for pid in pids:
        wait_for_end(pid)


def wait_for_workers(store: Store, num_workers: int, driver: ForkedProcess) -> set[int]:
    """Processes of running stages."""
    deadline = time.monotonic() + 120
    while True:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        folders = [store.stage("cell", path.name) for path in store.root.glob("cell/*")]
        pids = {pid for folder in folders if (pid := folder.read_state().pid) is not None}
        if len(pids) == num_workers:
            return pids
        time.sleep(0.05)


@pytest.mark.parametrize(("own", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(monkeypatch, own, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    environment = worker_environment(3)
    assert (environment["OMP_WAIT_POLICY"], environment["OMP_NUM_THREADS"]) == (expected, "3")
    assert environment.keys() == {*os.environ, "OMP_WAIT_POLICY", "OMP_NUM_THREADS"}
