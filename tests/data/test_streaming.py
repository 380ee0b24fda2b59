"""The streaming loader alone: its processes, and the series of batches that they serve."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from benchbench.data import streaming
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.transforms import Transform
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


def death_signal(_index: int) -> Image.Image:
    """An image whose red is the signal that this process is sent when its parent ends (PR_GET_PDEATHSIG)."""
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number))
    return Image.new("RGB", (8, 8), (number.value, 0, 0))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_a_loader_process_is_killed_with_the_one_that_it_loads_for():
    """It may never come back from an augmenter, and would hold the store's lock."""
    images = ImageDataset(np.zeros(4, np.int64), ("a", "b"), death_signal)
    subset, transform = ImageSubset(images, np.arange(4)), Transform(8, None, ())
    streamed = streaming.StreamingLoader(subset, transform, torch.device("cpu"), 1)
    (batch,) = streamed.test_batches(4)
    assert (batch.images[:, 0] * 255).round().unique().tolist() == [signal.SIGKILL]
