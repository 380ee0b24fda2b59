"""Flow of solution procedure: how the student gets from one map to the next."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.losses.catalog.features import StudentFirstParams
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.losses.two_stage import StudentFirst
from benchbench.models.outputs import Outputs


def flow(lower: Tensor, upper: Tensor) -> Tensor:
    """The FSP matrix G [B, m, n]: G_ij = 1/(h w) sum_st lower_ist upper_jst, at the smaller size of the two.

    Source: Yim et al. 2017, "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer
    Learning" (CVPR 2017), Eq. 1; a larger map is averaged down, as in RepDistiller.

    Args:
        lower, upper: maps [B, m, H, W] and [B, n, H', W'] of one network.
    """
    lower, upper = (maps.flatten(2) for maps in same_size(lower, upper))
    return lower @ upper.mT / lower.shape[2]


class FSP(StudentFirst):
    """Term `fsp`: the mean squared difference of the FSP matrices of both sides, summed over successive paired maps.

    The matrices are comparable where a student's map is as wide as the teacher's. Where it is not, a matrix P [C_t,
    C_s], which trains with the student, maps its channels to the teacher's: a 1x1 convolution without bias. The FSP
    matrix of two such convolutions is P G P'^T, which spares the convolutions. Paper and RepDistiller take pairs of
    networks of equal widths alone.

    In the paper this is a first stage, and the task trains the student afterwards; so it is here, for `preparation` of
    the epochs, unless that is 0. RepDistiller does so for 30 epochs before 240.

    Source: as there, Eq. 2, which sums over a matrix's entries and averages over samples; the mean over entries is
    RepDistiller's.
    """

    name = "fsp"

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context, StudentFirstParams(**params))
        self.pairs = paired(context)
        if len(self.pairs) < 2:
            raise StageError("loss 'fsp' compares flows between two maps, and a side has one map; take another network")
        widths = [(context.student_features[s][0], context.teacher_features[t][0]) for s, t in self.pairs]
        self.widen = nn.ModuleList(nn.Identity() if s == t else nn.Linear(s, t, bias=False) for s, t in widths)

    def hint(self, student: Outputs, teacher: Outputs) -> Tensor:
        maps = both_maps(student, teacher, self.pairs)
        gaps = []
        for i, ((s_lower, t_lower), (s_upper, t_upper)) in enumerate(pairwise(maps)):
            g_student = self.widen[i + 1](flow(s_lower, s_upper))
            g_student = self.widen[i](g_student.mT).mT
            gaps.append(F.mse_loss(g_student, flow(t_lower, t_upper)))
        return torch.stack(gaps).sum()
