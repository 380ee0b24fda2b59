"""Distillation through attention: a head of its own, on a token of its own, learns from the teacher."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import DeiTParams
from benchbench.losses.logits import task_logits
from benchbench.losses.methods.kd import distillation_kl
from benchbench.models.outputs import Outputs


def hard_distillation(token_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """-1/B sum_i log softmax(z_i)_c with c = argmax t_i: cross-entropy with the teacher's choice, not smoothed.

    Source: the second half of Eq. 3 of Touvron et al. 2021 (see `DeiT`).

    Args:
        token_logits: z [B, C], of the head on the distillation token.
        teacher_logits: t [B, C].
    """
    return F.cross_entropy(token_logits, teacher_logits.argmax(dim=1))


class DeiT(Loss):
    """Term `deit`: `hard_distillation` of the distillation token's logits, or their `distillation_kl` (soft).

    The class token's cross-entropy with the labels is the loss `ce`. The paper's weights: 1/2 and 1/2 with hard labels;
    with soft ones 1 - lambda for `ce` and lambda for this loss, lambda = 0.1 at tau = 3.

    Source: Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention" (arXiv
    2012.12877), section 4, Eq. 3 (hard, its own choice) and Eq. 2 (soft). Of Eq. 2 the official code averages the
    divergence over B C entries, which is 1 / C of the one here, and its options default to tau = 1 and lambda = 0.5.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = DeiTParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        assert student.token_logits is not None
        teacher_logits = task_logits(teacher)
        if self.params.kind == "hard":
            return {"deit": hard_distillation(student.token_logits, teacher_logits)}
        return {"deit": distillation_kl(student.token_logits, teacher_logits, self.params.temperature)}
