"""Distillation of a detection's outputs: classes, boxes and centreness at every point of the image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.boxes import HeadKDParams
from benchbench.losses.logits import task_logits
from benchbench.models.outputs import Outputs

EPSILON = 1e-7  # keeps empty boxes from dividing by zero, as in torchvision's GIoU


def class_gaps(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, power: int = 1) -> Tensor:
    """T^2 sum_c |p^t_c - p^s_c|^g BCE(p^s_c, p^t_c) of each point, with p = sigmoid(z / T): [B, A].

    Source: Wang et al. 2024, "CrossKD: Cross-Head Knowledge Distillation for Object Detection" (arXiv 2306.11369),
    with g = 1 and T = 1: the quality focal loss (Li et al. 2020, arXiv 2006.04388) on the teacher's probabilities.

    Args:
        student_logits, teacher_logits: [B, A, classes].
        temperature: T.
        power: g.
    """
    s, p_teacher = student_logits / temperature, (teacher_logits / temperature).sigmoid()
    entropy = F.binary_cross_entropy_with_logits(s, p_teacher, reduction="none")
    return temperature**2 * ((p_teacher - s.sigmoid()).abs().pow(power) * entropy).sum(2)


def box_gaps(student_distances: Tensor, teacher_distances: Tensor) -> Tensor:
    """1 - GIoU of both sides' boxes at each point [B, A], from distances [B, A, 4] to left, top, right and bottom.

    As `torchvision.ops.generalized_box_iou_loss`, which makes the host wait for a GPU.
    """
    student, teacher = (_area(each) for each in (student_distances, teacher_distances))
    shared = _area(torch.minimum(student_distances, teacher_distances), least=0.0)
    around = _area(torch.maximum(student_distances, teacher_distances))
    union = student + teacher - shared
    return 1 - shared / (union + EPSILON) + (around - union) / (around + EPSILON)


def _area(distances: Tensor, least: float | None = None) -> Tensor:
    """Areas [B, A] of boxes by their distances; sides are at least `least`."""
    sides = distances[..., :2] + distances[..., 2:]
    sides = sides if least is None else sides.clamp(min=least)
    return sides[..., 0] * sides[..., 1]


class HeadKD(Loss):
    """Terms `classes`, `boxes` and `centerness`: sums over all points, each divided by the sum of the points' weights.

    A point weighs as much as the teacher's highest probability of a class there. `classes` is the sum of `class_gaps`;
    `boxes` that of `box_gaps`, and `centerness` that of the cross-entropy with the teacher's, both times the points'
    weights and a parameter (`giou`, `centerness`). The divisor is at least 1: images without objects count little.

    The student's own outputs are compared, which the paper calls prediction mimicking (section 3.1): its CrossKD runs
    the student's branches through the teacher's head. The paper divides by the sum of the centreness of the points of
    objects, weighs classes by 0.4 and boxes by 0.75 for FCOS, and leaves the centreness out.

    Teacher and student need the same points: pyramids with the same strides.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = HeadKDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        own, taught = student.boxes, teacher.boxes
        assert own is not None
        assert taught is not None
        t = task_logits(teacher)
        weights = t.sigmoid().amax(2)
        classes = class_gaps(task_logits(student), t, self.params.temperature, self.params.power)
        boxes = self.params.giou * weights * box_gaps(own.distances, taught.distances)
        centers = F.binary_cross_entropy_with_logits(own.centerness, taught.centerness.sigmoid(), reduction="none")
        sums = torch.stack([classes.sum(), boxes.sum(), (self.params.centerness * weights * centers).sum()])
        names = ("classes", "boxes", "centerness")
        return dict(zip(names, sums / weights.sum().clamp_min(1), strict=True))
