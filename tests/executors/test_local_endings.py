"""Workers that hang where nothing of Python runs any more: they are ended, replaced, and do not outlive their runner.

They hang while they load a plugin, before they import torch.
"""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchbench.executors.base import EVENT, Assignment, Event, RunSettings
from benchbench.executors.fork_server import LIBRARIES
from benchbench.executors.local import LocalExecutor
from benchbench.store import Store
from tests.executors.conftest import devices
from tests.hardware.test_lifetime import wait_for_end
from tests.specs import training_spec

pytestmark = pytest.mark.whole_run

HANGS = """
import ctypes, os, pathlib, sys

if {"benchbench.executors.worker", "benchbench.executors.fork_server"} & set(sys.orig_argv):
    (pathlib.Path(__file__).parent / f"pid-{os.getpid()}").touch()
    ctypes.PyDLL(None).sleep(600)  # with the interpreter in its hand
"""
DRIVER = """
import sys, time
from pathlib import Path
from benchbench.executors.base import RunSettings
from benchbench.executors.local import LocalExecutor
from tests.executors.conftest import devices

folder, num_slots = Path(sys.argv[1]), int(sys.argv[2])
settings = RunSettings(folder, (folder / "hangs.py",), folder, 30.0, None)
executor = LocalExecutor(devices(num_slots), settings)
for slot in executor.devices.slots:
    executor.submit(slot, [])
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """With a plugin that hangs in workers, and without libraries, which they never come to use."""
    for library in LIBRARIES:
        (tmp_path / "absent" / library).mkdir(parents=True)
        (tmp_path / "absent" / library / "__init__.py").write_text("raise ImportError")
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "absent"), root, *filter(None, path)]))
    (tmp_path / "hangs.py").write_text(HANGS)
    return tmp_path


@pytest.fixture
def executor(folder, request) -> Iterator[LocalExecutor]:
    """One with as many slots as are asked for."""
    store = Store(folder / "runs")
    store.open()
    settings = RunSettings(store.root, (folder / "hangs.py",), folder, 30.0, None)
    workers = LocalExecutor(devices(request.param), settings)
    try:
        yield workers
    finally:
        workers.close()


def hanging(folder: Path, count: int) -> list[int]:
    """The processes of so many workers, once they hang."""
    deadline = time.monotonic() + 120
    while len(pids := [int(path.name[4:]) for path in folder.glob("pid-*")]) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return pids


@pytest.mark.parametrize("num_slots", [1, 2], ids=["spawned", "forked"])
def test_they_do_not_outlive_a_runner_that_is_killed(folder, num_slots):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), str(num_slots)])
    try:
        pids = hanging(folder, num_slots)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    for pid in pids:
        wait_for_end(pid)


@pytest.mark.parametrize("executor", [1, 2], ids=["spawned", "forked"], indirect=True)
def test_one_is_ended_for_a_reason_and_replaced(folder, executor):
    slot = executor.devices.slots[0]
    for count in (1, 2):
        executor.submit(slot, [Assignment("key", "a stage", training_spec(), {})])
        pids = hanging(folder, count)
        executor.end(slot, "it took too long")
        events: list[Event] = []
        while not events:
            executor.wait(1.0, events.append)
        assert events == [Event("died", "key", slot, "it took too long")]
        for pid in pids:
            wait_for_end(pid)


@pytest.mark.parametrize("executor", [1], indirect=True)
def test_one_that_cannot_save_is_waited_for_no_longer_than_asked(folder, executor):
    executor.submit("0", [Assignment("key", "a stage", training_spec(), {})])
    (pid,) = hanging(folder, 1)
    executor.save_and_end(0.05)
    executor.close()
    wait_for_end(pid)


class StubProcess:
    """A worker that says what it is told to, and ends when it is let."""

    def __init__(self) -> None:
        self.stdin, self.lines = io.StringIO(), queue.Queue[str | None]()
        self.stdout = iter(self.lines.get, None)

    def exit_code(self) -> int:
        return -signal.SIGKILL

    def kill(self) -> None:
        pass


def test_one_that_is_ended_while_it_says_that_it_has_finished_gets_no_other_stage(tmp_path, monkeypatch):
    processes: list[StubProcess] = []
    monkeypatch.setattr(LocalExecutor, "_process", lambda self, slot: processes.append(StubProcess()) or processes[-1])
    executor = LocalExecutor(devices(1), RunSettings(tmp_path, (), tmp_path, 30.0, None))
    events: list[Event] = []
    executor.submit("0", [Assignment("first", "a stage", training_spec(), {})])
    executor.end("0", "it took too long")
    processes[0].lines.put(EVENT.dump_json(Event("finished", "first", "0")).decode())
    executor.wait(10.0, events.append)
    executor.submit("0", [Assignment("second", "a stage", training_spec(), {})])
    processes[0].lines.put(None)  # now it is dead
    executor.wait(0.2, events.append)
    assert [(event.name, event.key) for event in events] == [("finished", "first")]
    assert '"second"' in processes[-1].stdin.getvalue()
    assert len(processes) == 2
    processes[1].lines.put(None)
    executor.close()
