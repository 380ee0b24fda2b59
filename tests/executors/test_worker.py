"""Errors of a worker as it leaves them, and its behaviour when it is asked to end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from benchbench.executors import worker
from benchbench.executors.base import EVENT, Assignment, Event, RunSettings, worker_settings
from benchbench.executors.logs import TRACEBACK
from benchbench.executors.stage_progress import FILE
from benchbench.executors.worker import STOPPED, Worker
from benchbench.store import Claims, Store
from benchbench.training.stop import STOP, StageStopped
from tests.executors.conftest import devices
from tests.specs import training_spec


class OddError(RuntimeError):
    def __str__(self) -> str:
        raise KeyError("no text")


@pytest.fixture
def ended(tmp_path):
    """The event and the folder of a stage that an error has ended."""

    def end(error: Exception):
        events: list[Event] = []
        store = Store(tmp_path / "runs")
        settings = worker_settings(RunSettings(store.root, (), tmp_path, 30.0, None), devices(1), "0")
        each = Worker(settings, events.append, lambda log: contextlib.nullcontext())
        stage = Assignment("a" * 64, "a stage", training_spec(), {})
        each._run = lambda stages: [error]
        each.run([stage])
        assert [event.name for event in events] == ["started", "failed"]
        assert EVENT.validate_json(EVENT.dump_json(events[-1])) == events[-1]
        return events[-1], store.stage("cell", stage.key)

    return end


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (ValueError("bad \udc80 text"), r"ValueError: bad \udc80 text (traceback in "),
        (ValueError("two\nlines"), "ValueError: two lines (traceback in "),
        (OddError(), "OddError: its message cannot be read (KeyError) (traceback in "),
    ],
    ids=["surrogate", "lines", "no text"],
)
def test_a_message_of_any_kind_is_reported(ended, error, beginning):
    event, folder = ended(error)
    assert event.reason.startswith(beginning)
    assert folder.read_state().reason == event.reason
    assert type(error).__name__ in folder.log.read_text(encoding="utf-8")


def test_a_message_of_megabytes_is_cut(ended):
    event, folder = ended(ValueError("begin" + "x" * 5_000_000 + "end"))
    assert event.reason.startswith("ValueError: beginxxx")
    assert len(event.reason) < 2000
    assert folder.log.stat().st_size < 1.1 * TRACEBACK
    assert folder.log.read_text(encoding="utf-8").rstrip().endswith("xxend")


def test_the_record_of_a_successor_stays_where_it_is(tmp_path):
    """This process stood still for so long that another has the stage, and has finished it."""
    store, key = Store(tmp_path / "runs"), "a" * 64
    folder = store.stage("cell", key)
    folder.path.mkdir(parents=True)
    first, second = Claims(store.root, "first"), Claims(store.root, "second")
    claim = first.take("cell", key)
    os.utime(claim.folder / "1", (0, 0))
    second.release(second.take("cell", key), finished=True)
    for file in (folder.record, folder.path / FILE):
        file.write_text("the successor's")
    events: list[Event] = []
    settings = worker_settings(RunSettings(store.root, (), tmp_path, 30.0, None), devices(1), "0")
    each = Worker(settings, events.append, lambda log: contextlib.nullcontext())
    each.run([Assignment(key, "a stage", training_spec(), {}, claim)])
    assert [event.name for event in events] == ["lost"]
    assert {path.name for path in (folder.record, folder.path / FILE) if path.exists()} == {"record.json", FILE}
    assert not folder.earlier_record.exists()


@pytest.fixture
def exits(monkeypatch) -> Iterator[list[int]]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    STOP.clear()
    yield codes
    signal.alarm(0)
    STOP.clear()


def test_an_idle_worker_ends_at_once(exits):
    worker._end_soon(signal.SIGTERM, None)
    assert exits == [STOPPED]


def test_a_stage_that_can_save_is_given_the_time(exits):
    STOP.awaited = True
    for _ in range(2):  # a scheduler and the runner ask
        worker._end_soon(signal.SIGTERM, None)
    assert exits == []
    assert 0 < signal.alarm(0) <= worker.SAVE_SECONDS
    with pytest.raises(StageStopped):
        STOP.leave()


def test_an_error_beside_a_request_is_no_failure(ended, exits):
    """Such as that of a loader's process, which the same signal has ended."""
    STOP.reason = StageStopped()
    with pytest.raises(StageStopped):
        ended(RuntimeError("DataLoader worker is killed by signal: Terminated"))
