"""A small task for losses: uneven classes in mixed order, embeddings of two widths, a frozen teacher head."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchbench.data.batch import Batch
from benchbench.losses.base import LossContext
from benchbench.models.outputs import Outputs

CLASSES, STUDENT_DIM, TEACHER_DIM = 5, 6, 11
LABELS = [3, 0, 1, 4, 0, 0, 3, 1, 4, 2, 0, 1, 3, 0, 4, 1, 0, 3, 2, 0, 4, 0, 1]  # 23 samples: 8, 5, 2, 4 and 4 a class

Step = tuple[Outputs, Outputs, Batch]


@pytest.fixture
def context() -> LossContext:
    head = nn.Linear(TEACHER_DIM, CLASSES).requires_grad_(False)
    return LossContext(
        classes=CLASSES,
        student_dim=STUDENT_DIM,
        teacher_dim=TEACHER_DIM,
        teacher_head=head,
        student_features=[],
        teacher_features=[],
        labels=torch.tensor(LABELS),
        device=torch.device("cpu"),
    )


@pytest.fixture
def make_step(context: LossContext) -> Callable[..., Step]:
    """Outputs of both sides and the batch they are of; leaves that require gradients, the teacher's too."""

    def make(size: int = 7, seed: int = 0, dtype: torch.dtype = torch.float32) -> Step:
        generator = torch.Generator().manual_seed(seed)

        def leaf(width: int) -> torch.Tensor:
            return (3 * torch.randn(size, width, generator=generator)).to(dtype).requires_grad_()

        index = torch.randperm(len(LABELS), generator=generator)[:size]
        batch = Batch(torch.rand(size, 3, 4, 4, generator=generator), context.labels[index], index)
        return Outputs(leaf(CLASSES), leaf(STUDENT_DIM)), Outputs(leaf(CLASSES), leaf(TEACHER_DIM)), batch

    return make
