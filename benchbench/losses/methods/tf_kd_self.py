"""Teacher-free knowledge distillation by self-training: the teacher is the student itself, trained before."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import TfKDSelfParams
from benchbench.losses.logits import both_logits
from benchbench.losses.methods.kd import distillation_kl
from benchbench.models.outputs import Outputs


class TfKDSelf(Loss):
    """Term `tf_kd_self`: `distillation_kl` at T = 20; the suite gives a teacher of the student's own model.

    Nothing but `kd` with another temperature: what makes the method is the teacher, the same architecture trained on
    the labels alone (a teacher in state `scratch`).

    Source: Yuan et al. 2020, "Revisiting Knowledge Distillation via Label Smoothing Regularization" (arXiv 1909.11723),
    section 5, Tf-KD_self. The official code's CIFAR-100 runs have T = 20 for most models (6 for ResNet18), and weights
    1 - alpha of cross-entropy and alpha of this loss, mostly with alpha 0.9 or 0.95. That code averages the divergence
    over B C entries and has a multiplier by model: with 100 (ResNeXt29, alpha 0.9) it is this sum over classes, with 50
    (DenseNet121, alpha 0.9) half of it, with 1 (MobileNetV2, ShuffleNetV2, alpha 0.95) a hundredth.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = TfKDSelfParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        return {"tf_kd_self": distillation_kl(s, t, self.params.temperature)}
