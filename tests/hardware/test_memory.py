"""Peak memory: of this stage, and not of an earlier one."""

from __future__ import annotations

import mmap

import pytest

from benchbench.hardware import memory
from benchbench.hardware.memory import PeakMemory, forget_peak

MEGABYTES = 2**20


def fill_and_free(megabytes: int) -> None:
    """Fresh pages of the system's: an allocation may reuse what other tests have freed."""
    with mmap.mmap(-1, megabytes * MEGABYTES) as pages:
        for start in range(0, len(pages), mmap.PAGESIZE):
            pages[start] = 1


@pytest.mark.skipif(not memory.RESET.exists(), reason="no /proc/self/clear_refs on this system")
def test_the_peak_is_that_of_the_stage():
    fill_and_free(80)
    meter = PeakMemory("cpu")
    before = meter.bytes()
    fill_and_free(40)
    assert before is not None
    assert 30 * MEGABYTES < meter.bytes() - before < 60 * MEGABYTES
    forget_peak("cpu")  # what lay between is not counted
    assert meter.bytes() - before < 30 * MEGABYTES


def test_where_the_mark_cannot_be_set_back_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "RESET", tmp_path / "absent" / "clear_refs")
    assert PeakMemory("cpu").bytes() is None
