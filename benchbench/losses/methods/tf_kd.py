"""Teacher-free knowledge distillation: a virtual teacher that is right by design."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.labels import TfKDParams
from benchbench.losses.logits import task_logits
from benchbench.models.outputs import Outputs


def virtual_teacher_kl(s: Tensor, labels: Tensor, correct: float = 0.99, temperature: float = 20.0) -> Tensor:
    """1/B sum_i KL(softmax(d_i / T) || softmax(s_i)), with d_ic = a where c = y_i and (1 - a) / (C - 1) elsewhere.

    Source: Yuan et al. 2020, "Revisiting Knowledge Distillation via Label Smoothing Regularization" (arXiv 1909.11723),
    section 5, Tf-KD_reg. As in the official code, the softmax takes the probabilities d themselves for logits, so that
    the softened teacher is close to uniform (at T = 20 the label has 1.05 times the probability of another class), and
    the student's logits are not softened.

    That code averages over B C entries and multiplies by 100 for ResNet18 on CIFAR-100, where C = 100: this sum over
    classes. Its weights there are 0.9 for cross-entropy and 0.1 for this loss. (For MobileNetV2: T = 40, 0.05, and 0.95
    at a multiplier of 1, which is a weight of 0.0095 here.)

    Args:
        s: the student's logits [B, C], C at least 2.
        labels: y [B].
        correct: a, at least 0.9 and below 1.
        temperature: T > 0.
    """
    own = F.one_hot(labels, s.shape[1]).to(s.dtype)
    teacher = correct * own + (1 - correct) / (s.shape[1] - 1) * (1 - own)
    teacher_log_p = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(s, dim=1), teacher_log_p, reduction="batchmean", log_target=True)


class TfKD(Loss):
    """Term `tf_kd`: `virtual_teacher_kl` of the student's task logits; it stands beside `ce`."""

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = TfKDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s = task_logits(student)
        return {"tf_kd": virtual_teacher_kl(s, batch.labels, self.params.correct, self.params.temperature)}
