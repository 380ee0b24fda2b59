"""The streaming loader alone: its processes, and the series of batches that they serve."""

from __future__ import annotations

import multiprocessing

import pytest

from benchbench.data import streaming
from tests.data.test_loader import assert_same, epoch, loader


def loader_processes() -> set[int]:
    return {process.pid for process in multiprocessing.active_children()}


def test_loader_processes_serve_all_epochs_and_end_with_the_loader():
    """An epoch that is left before its end costs them nothing but its batches."""
    before, streamed = loader_processes(), loader("streamed", workers=2)
    assert not loader_processes() - before
    assert_same(list(streamed.train_batches(1, 0, 5, 0)), epoch("streamed", number=0))
    started = loader_processes() - before
    assert len(started) == 2
    assert_same([next(streamed.train_batches(1, 1, 5, 0))], epoch("streamed", number=1)[:1])
    assert_same(list(streamed.train_batches(1, 2, 5, 1)), epoch("streamed", number=2, start=1))
    assert_same(list(streamed.test_batches(7)), list(loader("streamed").test_batches(7)))
    assert loader_processes() - before == started
    del streamed
    assert not loader_processes() & started


@pytest.mark.parametrize("workers", [0, 2])
def test_one_series_of_batches_ends_those_before_it(workers):
    streamed = loader("streamed", workers=workers)
    first, second = streamed.train_batches(1, 0, 5, 0), streamed.train_batches(1, 1, 5, 0)
    next(first)
    assert_same([next(second)], epoch("streamed", number=1)[:1])
    with pytest.raises(RuntimeError, match="another series of this loader's batches has begun"):
        next(first)
    assert_same(list(second), epoch("streamed", number=1)[1:])


def test_seeds_of_images_are_made_when_a_process_needs_them(monkeypatch):
    """An epoch of a million images would begin seconds later otherwise."""
    made = []
    monkeypatch.setattr(streaming, "derive", lambda *parts: made.append(parts) or 0)
    batches = loader("streamed").train_batches(1, 0, 5, 0)
    next(batches)
    assert len(made) == 5
