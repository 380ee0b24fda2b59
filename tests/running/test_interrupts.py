"""Ctrl-C is not lost, whatever the program does at that moment."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from benchbench.components import Component
from benchbench.executors.base import Event, Executor
from benchbench.plugins import load_plugins
from benchbench.running.interrupts import RememberedInterrupts, Terminated
from benchbench.running.runner import RunOptions, run_plan
from benchbench.store import Store
from benchbench.testing.sample import sample_record
from benchbench.training.stop import STOP


@pytest.fixture(autouse=True)
def dropped(monkeypatch) -> Iterator[list[type[BaseException]]]:
    """Exceptions that Python drops. Interrupts reach this process, even where a shell has it ignore them."""
    before, exceptions = signal.signal(signal.SIGINT, signal.default_int_handler), []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: exceptions.append(unraisable.exc_type))
    yield exceptions
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def lose_an_interrupt() -> None:
    """Ctrl-C while an object is destroyed: Python drops the exception."""
    Finalized()


def test_python_loses_it(dropped):
    lose_an_interrupt()
    assert dropped == [KeyboardInterrupt]


def test_a_lost_one_is_raised_by_the_next_check():
    def checked() -> None:
        with RememberedInterrupts() as interrupts:
            interrupts.check()
            lose_an_interrupt()
            interrupts.check()
            pytest.fail("it was lost")

    with pytest.raises(KeyboardInterrupt):
        checked()


@pytest.mark.parametrize("exits", [False, True], ids=["return", "exit"])
def test_a_lost_one_is_raised_at_the_end(exits):
    @RememberedInterrupts()
    def command(lost: bool) -> None:
        if lost:
            lose_an_interrupt()
        with RememberedInterrupts():
            pass
        if exits:
            sys.exit()

    with pytest.raises(KeyboardInterrupt):
        command(True)
    with pytest.raises(SystemExit) if exits else RememberedInterrupts():
        command(False)  # each call starts anew


def test_both_of_two_contexts_remember_it():
    with RememberedInterrupts() as outer, RememberedInterrupts() as inner:
        lose_an_interrupt()
        for interrupts in (inner, outer):
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()
        outer._pending = inner._pending = False


def test_an_interrupt_that_is_not_lost_is_raised_at_once():
    @RememberedInterrupts()
    def pressed() -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was lost")

    with pytest.raises(KeyboardInterrupt):
        pressed()


def test_another_error_is_not_replaced():
    @RememberedInterrupts()
    def failing() -> None:
        lose_an_interrupt()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()


def test_a_process_that_ignores_it_still_does():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with RememberedInterrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN


def test_a_thread_may_use_it():
    ended = []

    def work():
        with RememberedInterrupts() as interrupts:
            interrupts.check()
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_signals_that_end_a_job_are_raised_with_their_number(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # `nohup` has it ignore SIGHUP

    @RememberedInterrupts()
    def command() -> None:
        with RememberedInterrupts():
            signal.raise_signal(number)
            pytest.fail("it was lost")

    with pytest.raises(Terminated, match=f"^{name}$") as caught:
        command()
    assert caught.value.number == number
    assert signal.signal(number, before) == signal.SIG_DFL


def test_a_stage_of_this_process_saves_before_it_ends():
    """The request waits until the stage, which looks for it, has saved; a second signal does not wait."""
    reached = []

    @RememberedInterrupts()
    def run(times: int) -> None:
        STOP.awaited = True
        for _ in range(times):
            signal.raise_signal(signal.SIGTERM)
            reached.append(STOP.made)
        STOP.leave()

    with pytest.raises(Terminated):
        run(1)
    assert reached == [True]
    assert not STOP.made
    with pytest.raises(Terminated):
        run(2)
    assert reached == [True, True]


def test_a_program_with_its_own_handler_keeps_it():
    calls = []
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(number))
    try:
        with RememberedInterrupts():
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert calls == [signal.SIGUSR1]


class Losing(Executor):
    """Writes records; Ctrl-C is lost in its first stage."""

    def __init__(self, devices, settings):
        super().__init__(devices, settings)
        self.store, self.stages = Store(settings.store), []

    def submit(self, slot, stages):
        self.stages += [(slot, stage) for stage in stages]

    def wait(self, timeout, handle):
        lose_an_interrupt()
        while self.stages:
            slot, stage = self.stages.pop(0)
            folder = self.store.stage(stage.kind, stage.key)
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.write_record(sample_record())
            handle(Event("finished", stage.key, slot))

    def close(self):
        pass


def test_a_run_ends_at_the_next_event(tiny_suite, plan_of, tmp_path):
    plan = plan_of(tiny_suite(tmp_path, arms={"scratch": {"method": "scratch"}}, teachers=None, seeds=[0, 1, 2]))
    executor = Component("losing", f"{__name__}:Losing")
    store = Store(tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, load_plugins(), store, executor, RunOptions(tmp_path / "data"))
    assert len(store.finished("cell")) == 1
