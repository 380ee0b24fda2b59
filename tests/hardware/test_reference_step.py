"""The step by which machines are compared: it measures, and disturbs nothing."""

from __future__ import annotations

import torch

from benchbench.hardware.environment import environment
from benchbench.hardware.reference_step import reference_seconds


def test_it_leaves_threads_and_random_numbers_alone():
    reference_seconds.cache_clear()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    seconds = reference_seconds("cpu")
    assert seconds is not None
    assert 0 < seconds < 10
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_measured_once_and_recorded():
    assert environment("cpu", "a processor", None).reference_seconds == reference_seconds("cpu")
    assert reference_seconds.cache_info().currsize == 1


def test_a_device_that_cannot_run_it():
    assert reference_seconds("meta:7" if torch.cuda.is_available() else "cuda:7") is None
