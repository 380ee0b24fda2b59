"""Class attention transfer: each class has the same activation map on both sides."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import CATKDParams
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import both_maps, map_reader, paired
from benchbench.models.outputs import Outputs


def activation_maps(features: Tensor, weight: Tensor, size: int) -> Tensor:
    """A_bkp = sum_c w_kc F_bcp: the class activation maps [B, K, size * size], pooled to size x size positions p.

    Pooling and weighting commute, so the smaller map is the one that is weighted.

    Args:
        features: the map before global pooling F [B, C, H, W].
        weight: the classifier's w [K, C]; its bias does not depend on position and stays out.
    """
    return weight @ F.adaptive_avg_pool2d(features, size).flatten(2)


def class_attention_gap(a_student: Tensor, a_teacher: Tensor, normalize: bool = True) -> Tensor:
    """1/(B K P) sum_bk ||A^s_bk / ||A^s_bk|| - A^t_bk / ||A^t_bk||||^2 over K classes of P positions.

    Source: Guo et al. 2023, "Class Attention Transfer Based Knowledge Distillation" (CVPR 2023, arXiv 2304.12777),
    section 3. The mean over positions is the official code's. Of its eleven configurations for CIFAR-100 five divide by
    the norms, three of them at 4x4 positions, and the others do not (`normalize` False); weights are 0.7 to 600 by
    pair. For ResNet-50 and MobileNetV2 on ImageNet they divide, at 2x2.

    Args:
        a_student, a_teacher: [B, K, P].
    """
    if normalize:
        a_student, a_teacher = unit(a_student), unit(a_teacher)
    return F.mse_loss(a_student, a_teacher)


class CATKD(Loss):
    """Term `catkd`: `class_attention_gap` of the last maps of both sides under their own classifiers.

    Nothing trains but the student and its classifier. In a network that does not average its last map into the
    embedding, such as a transformer with a class token, the maps show what the classifier reads in each position rather
    than what adds up to its logits.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CATKDParams(**params)
        self.pairs = paired(context, most=1)
        maps = context.student_features[-1], context.teacher_features[-1]
        positions = min(self.params.size, *(height * width for _, height, width in maps))
        if self.params.normalize and positions == 1:
            raise StageError(
                "loss 'catkd' compares where classes are active, and at unit norm a single position says nothing; set "
                "`normalize: false`, or take larger images" + ("" if self.params.size > 1 else " or a size over 1")
            )
        c_student, c_teacher = context.student_features[-1][0], context.teacher_features[-1][0]
        # In a tuple, heads that are modules stay out of this loss's parameters and state.
        self.heads = (
            map_reader("catkd", "student", context.student_head, c_student),
            map_reader("catkd", "teacher", context.teacher_head, c_teacher),
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        head_student, head_teacher = self.heads
        a_student = activation_maps(f_student, head_student.weight, self.params.size)
        a_teacher = activation_maps(f_teacher, head_teacher.weight.detach(), self.params.size)
        return {"catkd": class_attention_gap(a_student, a_teacher, self.params.normalize)}
