"""A small task for losses, as plugins' authors get it: uneven classes, widths that differ, a frozen teacher head."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchbench.components import Component
from benchbench.losses.base import LossContext
from benchbench.testing.losses import LossCase, Step


@pytest.fixture
def context() -> LossContext:
    return LossCase(Component("any", "any:any")).context()


@pytest.fixture
def make_step() -> Callable[..., Step]:
    """Outputs of both sides, with maps, and the batch they are of; leaves that require gradients, the teacher's too."""

    def make(size: int = 7, seed: int = 0, dtype: torch.dtype = torch.float32) -> Step:
        return LossCase(Component("any", "any:any", needs=frozenset({"teacher", "features", "token"}))).step(
            size, seed, dtype
        )

    return make
