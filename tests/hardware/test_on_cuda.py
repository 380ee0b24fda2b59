"""Energy and memory of a CUDA device."""

from __future__ import annotations

import pytest
import torch

from benchbench.hardware.devices import find_devices
from benchbench.hardware.energy import counter_of
from benchbench.hardware.memory import PeakMemory, free_memory
from tests.cuda import CUDA, STUB

pytestmark = pytest.mark.cuda


@pytest.mark.skipif(STUB is not None, reason="the stub has no energy counter")
def test_the_counter_of_the_boards_grows_with_work():
    counter = counter_of(find_devices("cuda"))
    if counter is None:
        pytest.skip("this card has no energy counter that may be read")
    values = torch.rand(4096, 4096, device=CUDA)
    before = counter.joules()
    for _ in range(200):
        values = (values @ values).clamp(0, 1)
    torch.cuda.synchronize()
    assert counter.joules() > before


@pytest.mark.allocator
def test_the_peak_is_what_a_stage_has_allocated_at_most():
    peak = PeakMemory("cuda:0")
    held = torch.cuda.memory_allocated(CUDA)
    values = torch.zeros(2**20, dtype=torch.int64, device=CUDA)
    del values
    free_memory("cuda:0")
    assert torch.cuda.memory_allocated(CUDA) == held
    assert peak.bytes() >= held + 8 * 2**20
