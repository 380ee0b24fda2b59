"""Measurements of networks that are real, and as short as they can be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchbench.execution import tune
from benchbench.stages import calibrate
from tests.networks import in_this_process


def measure_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are built in this process; their steps are timed once, in the plain way alone."""
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 0)
    monkeypatch.setattr(tune, "ROUND_SECONDS", 0)
    monkeypatch.setattr(tune, "ROUNDS", 1)
    attempt = tune._Tuning._try
    monkeypatch.setattr(
        tune._Tuning, "_try", lambda tuning, name, config: attempt(tuning, name, config) if name == "plain" else None
    )
