"""Cross-entropy on the task's labels."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch, Mix
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.labels import CEParams
from benchbench.losses.logits import task_logits
from benchbench.models.detection import DetectionHead
from benchbench.models.outputs import Outputs
from benchbench.models.pixels import target_cross_entropy


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with smoothed labels.

    CE = -1/B sum_i sum_c q_ic log softmax(logits_i)_c, where q_ic = (1 - e) [c = y_i] + e / C and e is the smoothing.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision" (arXiv 1512.00567),
    section 7, with the uniform prior over classes; e = 0 is plain cross-entropy, e = 0.1 is that paper's choice. Label
    smoothing as a regulariser is this very sum: (1 - e) times plain cross-entropy plus e times the cross-entropy with
    the uniform distribution.

    Args:
        logits: [B, C].
        labels: class numbers [B].
        label_smoothing: e, 0 <= e < 1.
        weights: w of each class [C]: the sum over images is sum_i sum_c w_c q_ic (-log softmax(logits_i)_c), divided by
            the sum of w_{y_i}, as in PyTorch; None for equal ones.
    """
    return F.cross_entropy(logits, labels, weights, label_smoothing=label_smoothing)


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, mix: Mix, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy where each image is a mixture of two.

    CE = 1/B sum_i (l_i CE_i(y_i) + (1 - l_i) CE_i(y'_i)), with the smoothed cross-entropies of the image's own label
    y_i and of its partner's y'_i, and its own share l_i in the mixture.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412), section 2: the
    cross-entropy with the mixed label, which is linear in the label.

    Args:
        logits: [B, C].
        labels: y, class numbers [B].
        mix: y' and l, [B] each.
        label_smoothing, weights: as of `cross_entropy`; the divisor is the sum of l_i w_{y_i} + (1 - l_i) w_{y'_i}.
    """
    own, others = (
        F.cross_entropy(logits, each, weights, label_smoothing=label_smoothing, reduction="none")
        for each in (labels, mix.labels)
    )
    values = mix.share * own + (1 - mix.share) * others
    if weights is None:
        return values.mean()
    return values.sum() / (mix.share * weights[labels] + (1 - mix.share) * weights[mix.labels]).sum()


class CE(Loss):
    """Term `ce`: `cross_entropy` of the student's logits; `mixed_cross_entropy` where images are mixed.

    Of a segmentation it is that of every pixel, at the size of the masks. Of a detection it is the loss of the head in
    its place, with that one's terms: of classes, boxes and centreness for `fcos`.

    Classes have the weights that the recipe gives them.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params, self.weights = CEParams(**params), context.class_weights
        object.__setattr__(self, "head", context.student_head)  # the student's own part, and none of this loss

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        if batch.boxes is not None:
            assert isinstance(self.head, DetectionHead)
            return self.head.loss(student, batch.boxes)
        logits, smoothing = task_logits(student), self.params.label_smoothing
        if batch.mix is not None:
            return {"ce": mixed_cross_entropy(logits, batch.labels, batch.mix, smoothing, self.weights)}
        return {"ce": target_cross_entropy(logits, batch.targets, self.weights, smoothing)}
