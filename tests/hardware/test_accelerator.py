"""Types and waiting by device, as far as a CPU shows them."""

from __future__ import annotations

import pytest
import torch

from benchbench.hardware.accelerator import synchronize, widest


@pytest.mark.parametrize(("kind", "dtype"), [("cpu", torch.float64), ("cuda", torch.float64), ("mps", torch.float32)])
def test_sums_are_kept_in_the_widest_type(kind, dtype):
    assert widest(torch.device(kind)) == dtype


def test_a_wait_is_for_the_device_s_own_work(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append("mps"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(str(device)))
    for name in ("cpu", "mps", "cuda:1"):
        synchronize(torch.device(name))
    assert waits == ["mps", "cuda:1"]
