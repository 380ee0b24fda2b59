"""Runs on one store, each in a process of its own: their stages are stubs that sleep and write."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchbench.components import Component, hookimpl
from benchbench.errors import ClaimLostError
from benchbench.executors.base import Assignment, Event, Executor, RunSettings
from benchbench.hardware.devices import Devices
from benchbench.planning.model import Plan, Stage
from benchbench.plugins import load_plugins
from benchbench.running.runner import RunOptions, run_plan
from benchbench.running.schedule import Outcome
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.store import StageFolder, StageState, Store
from benchbench.store.fencing import fenced
from benchbench.store.processes import this_process
from benchbench.testing.sample import sample_record


class StubExecutor(Executor):
    """Runs a stage as workers do, without its work: `STORE/stubs/LABEL` has a line of what it does instead.

    "fails"; "hangs": until the file is gone. Each start of a stage leaves a file in `STORE/starts`.
    """

    def __init__(self, devices: Devices, settings: RunSettings):
        super().__init__(devices, settings)
        self.submitted: list[tuple[str, Assignment]] = []

    def submit(self, slot: str, stages: list[Assignment]) -> None:
        self.submitted += [(slot, stage) for stage in stages]

    def wait(self, timeout: float, handle: Callable[[Event], None]) -> None:
        slot, stage = self.submitted.pop(0)
        folder = Store(self.settings.store).stage(stage.kind, stage.key)
        folder.path.mkdir(parents=True, exist_ok=True)
        try:
            with fenced(folder.path, stage.claim):
                handle(self._run(slot, stage, folder))
        except ClaimLostError as error:
            handle(Event("lost", stage.key, slot, str(error)))

    def _run(self, slot: str, stage: Assignment, folder: StageFolder) -> Event:
        starts = self.settings.store / "starts"
        starts.mkdir(exist_ok=True)
        (starts / f"{stage.key}-{os.getpid()}-{time.monotonic_ns()}").touch()
        state = StageState(status="running", pid=os.getpid(), host=this_process().host)
        folder.write_state(state)
        task = self.settings.store / "stubs" / stage.label.split(",")[0].split(" |")[0]
        while (word := _read(task)) == "hangs":
            time.sleep(0.01)
        if word == "fails":
            folder.write_state(state.model_copy(update={"status": "failed", "reason": "it was told to"}))
            return Event("failed", stage.key, slot, "it was told to")
        time.sleep(0.01)
        record = sample_record()
        folder.write_record(record.model_copy(update={"label": f"by {os.getpid()}"}))
        folder.state.unlink()
        return Event("finished", stage.key, slot)

    def close(self) -> None:
        pass


def _read(task: Path) -> str:
    try:
        return task.read_text()
    except FileNotFoundError:
        return ""


class Listener:
    """Keeps what is said of stages elsewhere; `react` is told too."""

    def __init__(self, react: Callable[[StageElsewhere], None] = lambda news: None) -> None:
        self.news: list[tuple[str, StageElsewhere]] = []
        self.react = react

    @hookimpl
    def benchbench_stage_elsewhere(self, stage: Stage, elsewhere: StageElsewhere) -> None:
        self.news.append((stage.key, elsewhere))
        self.react(elsewhere)


def run(plan: Plan, root: Path, listener: Listener | None = None, **options: object) -> Outcome:
    """Runs a plan in this process."""
    host = load_plugins()
    executor = Component("stub", f"{__name__}:StubExecutor")
    with host.with_listeners([listener] if listener else []):
        return run_plan(plan, host, Store(root), executor, RunOptions(root / "data", **options))


class Run:
    """A run in a process of its own, which has the imports of this one."""

    def __init__(self, plan: Plan, root: Path, start: float = 0.0, **options: object):
        context = multiprocessing.get_context("fork")
        self._answer, theirs = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=_report, args=(theirs, plan, root, start, options))
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def outcome(self, seconds: float = 60.0) -> Outcome:
        """Waits for its end."""
        assert self._answer.poll(seconds), "it does not end"
        outcome = self._answer.recv()
        self.process.join()
        assert isinstance(outcome, Outcome), outcome
        return outcome

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.join()


def _report(answer: Connection, plan: Plan, root: Path, start: float, options: dict[str, object]) -> None:
    """Runs in the process of a `Run`."""
    time.sleep(max(0.0, start - time.time()))
    try:
        answer.send(run(plan, root, **options))
    except BaseException:
        answer.send(traceback.format_exc())


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)
