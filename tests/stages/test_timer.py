"""The timer of a stage that goes on from a checkpoint."""

from __future__ import annotations

import pytest
import torch

from benchbench.plugins import load_plugins
from benchbench.stages.timer import ResumableTimer, TimedState
from tests.specs import synthesis_spec
from tests.stages.contexts import stage_context


@pytest.mark.parametrize("known", [True, False], ids=["", "of an earlier version"])
def test_a_resumed_stage_keeps_its_threads(known, tmp_path):
    context = stage_context(synthesis_spec(), tmp_path / "stage", load_plugins().registry)
    first: ResumableTimer[TimedState] = ResumableTimer(context)
    assert first.load(2) is None
    assert torch.get_num_threads() == 2
    first.save({"seconds": {}})
    if not known:
        first.checkpoints.save({"seconds": {}})
    second: ResumableTimer[TimedState] = ResumableTimer(context)
    assert second.load(1) is not None
    assert torch.get_num_threads() == second.cost().devices == (2 if known else 1)
