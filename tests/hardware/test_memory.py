"""Peak memory: what was held at once, and not what an earlier stage had held."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.hardware import memory
from benchbench.hardware.memory import PeakMemory

MEGABYTES = 2**20


@pytest.mark.skipif(not memory.RESET.exists(), reason="no /proc/self/clear_refs on this system")
def test_the_peak_is_that_of_the_stage():
    earlier = np.ones(80 * MEGABYTES, np.uint8)
    del earlier
    meter = PeakMemory("cpu")
    before = meter.bytes()
    held = np.ones(40 * MEGABYTES, np.uint8)
    del held
    assert before is not None
    assert 30 * MEGABYTES < meter.bytes() - before < 60 * MEGABYTES


def test_where_the_mark_cannot_be_set_back_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "RESET", tmp_path / "absent" / "clear_refs")
    assert PeakMemory("cpu").bytes() is None
