"""Bytes that may lie on a device."""

from __future__ import annotations

import pytest
import torch

from benchbench.data.images import IN_MEMORY_BYTES, RESIDENT_SHARE, resident_bytes


def test_on_a_cpu_they_are_those_of_a_set_in_memory():
    assert resident_bytes(torch.device("cpu")) == IN_MEMORY_BYTES


@pytest.mark.cuda
def test_on_a_gpu_they_are_a_share_of_what_is_free():
    free, _ = torch.cuda.mem_get_info()
    assert resident_bytes(torch.device("cuda")) == pytest.approx(max(IN_MEMORY_BYTES, RESIDENT_SHARE * free), rel=0.01)
