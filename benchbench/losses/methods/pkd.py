"""Pearson correlation of maps: every channel of the student is high and low where the teacher's is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs

EPS = 1e-6  # the official code's, beside the standard deviation


def correlation_gap(f_student: Tensor, f_teacher: Tensor) -> Tensor:
    """1/(2 B C H W) sum_bcp (z^s_bcp - z^t_bcp)^2, z = (F - mean_c) / (std_c + eps).

    Mean and deviation of a channel are those over all positions of all images. But for eps it is the mean of 1 - r_c,
    with r_c the correlation of channel c of both sides.

    Source: Cao et al. 2022, "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient" (arXiv 2207.02039), section 3. eps is that of the official code in mmrazor, which divides the
    variance by n - 1 in place of n = B H W, and weighs each level of a feature pyramid by 6 or 10.

    Args:
        f_student, f_teacher: maps [B, C, H, W] of one shape.
    """
    s, t = (standardised(x.transpose(0, 1).flatten(1)) for x in (f_student, f_teacher))
    return 0.5 * F.mse_loss(s, t)


def standardised(rows: Tensor) -> Tensor:
    """Rows at mean 0 and deviation 1; the gradient of a constant one is finite.

    As `benchbench.losses.logits.standardized`, whose official code has another eps.
    """
    centred = rows - rows.mean(dim=1, keepdim=True)
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / math.sqrt(rows.shape[1])
    return centred / (deviation + EPS)


class PKD(Loss):
    """Term `pkd`: the sum of `correlation_gap` over the paired maps, the larger one averaged down to the other's size.

    Where the two differ in width, a 1x1 convolution without bias, which trains with the student, takes the student's
    map to the teacher's width. The paper compares levels of feature pyramids, which are equally wide.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.pairs = paired(context)
        widths = [(context.student_features[s][0], context.teacher_features[t][0]) for s, t in self.pairs]
        self.connectors = nn.ModuleList(
            nn.Identity() if c_student == c_teacher else nn.Conv2d(c_student, c_teacher, 1, bias=False)
            for c_student, c_teacher in widths
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        sides = [same_size(*maps) for maps in both_maps(student, teacher, self.pairs)]
        values = [correlation_gap(connect(s), t) for connect, (s, t) in zip(self.connectors, sides, strict=True)]
        return {"pkd": torch.stack(values).sum()}
