"""Cross-entropy on the task's labels."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.labels import CEParams
from benchbench.losses.logits import student_logits
from benchbench.models.outputs import Outputs


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with smoothed labels, in float32.

    CE = -1/B sum_i sum_c q_ic log softmax(logits_i)_c, where q_ic = (1 - e) [c = y_i] + e / C and e is the smoothing.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision" (arXiv 1512.00567),
    section 7, with the uniform prior over classes; e = 0 is plain cross-entropy, e = 0.1 is that paper's choice. Label
    smoothing as a regulariser is this very sum: (1 - e) times plain cross-entropy plus e times the cross-entropy with
    the uniform distribution.

    Args:
        logits: [B, C].
        labels: class numbers [B].
        label_smoothing: e, 0 <= e < 1.
    """
    return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)


class CE(Loss):
    """Term `ce`: `cross_entropy` of the student's logits."""

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CEParams(**params)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> dict[str, Tensor]:
        return {"ce": cross_entropy(student_logits("ce", student), batch.labels, self.params.label_smoothing)}
