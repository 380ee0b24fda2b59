"""Intra-class feature variation: positions are as far from the mean of their class as the teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import same_size
from benchbench.models.outputs import Outputs


def class_cosines(features: Tensor, members: Tensor) -> Tensor:
    """Cosine of each position's vector and the mean of its class in the image: [B, H W]; 0 where it has no class.

    Args:
        features: a map [B, D, H, W].
        members: 1 where a position is of a class, else 0: [B, C, H W].
    """
    vectors = features.flatten(2)
    sums, counts = vectors @ members.mT, members.sum(dim=2).unsqueeze(1)
    means = (sums / counts.clamp_min(1)) @ members
    return (unit(vectors.mT) * unit(means.mT)).sum(dim=2)


def variation_gap(f_student: Tensor, f_teacher: Tensor, masks: Tensor, classes: int) -> Tensor:
    """1/n sum_p (cos(F^s_p, mu^s_p) - cos(F^t_p, mu^t_p))^2, mu_p the mean of position p's class in its image.

    The n positions are those with a class; 0 where there is none.

    Source: Wang et al. 2020, "Intra-class Feature Variation Distillation for Semantic Segmentation" (ECCV 2020),
    section 3. Their code counts positions without a class in n, takes the class of the first pixel of a position, not
    of the one in its middle, and weighs the term by 200.

    Args:
        f_student, f_teacher: maps [B, D_s, h, w] and [B, D_t, h, w].
        masks: classes of pixels [B, H, W], of which those outside of 0..classes - 1 do not count.
        classes: C.
    """
    size, numbers = f_student.shape[-2:], torch.arange(classes, device=masks.device).view(1, -1, 1)
    resized = F.interpolate(masks.unsqueeze(1).float(), size, mode="nearest-exact").flatten(2)
    members = (resized == numbers).to(f_student.dtype)
    gaps = class_cosines(f_student, members) - class_cosines(f_teacher, members)
    return gaps.square().sum() / members.sum().clamp_min(1)


class IFVD(Loss):
    """Term `ifvd`: `variation_gap` of the last maps, the larger one averaged down to the other's size.

    There is nothing to train but the student: cosines have no width.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.classes = context.classes

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        assert batch.masks is not None
        f_student, f_teacher = same_size(student.features[-1], teacher.features[-1])
        return {"ifvd": variation_gap(f_student, f_teacher, batch.masks, self.classes)}
