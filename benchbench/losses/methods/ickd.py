"""Inter-channel correlation: channels that are alike to the teacher are alike to the student."""

from __future__ import annotations

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.connectors import connector
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import both_maps, paired
from benchbench.models.outputs import Outputs


def channel_correlation_gap(f_student: Tensor, f_teacher: Tensor) -> Tensor:
    """1/(B C) sum_b ||G^s_b - G^t_b||_F^2, where the rows of G are those of F F^T [C, C], each of unit norm.

    F [C, H W] is one image's map, so that the size of the maps may differ between the sides.

    Source: Liu et al. 2021, "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation" (ICCV
    2021), section 3. The paper divides by C^2 and has no norms; the rows' norms and the division by C are the official
    code's for CIFAR-100, which weighs the loss by 2.5.

    Args:
        f_student, f_teacher: maps [B, C, H_s, W_s] and [B, C, H_t, W_t].
    """
    g_student, g_teacher = (unit(x @ x.mT) for x in (f_student.flatten(2), f_teacher.flatten(2)))
    return (g_student - g_teacher).square().sum(dim=2).mean()


class ICKD(Loss):
    """Term `ickd`: `channel_correlation_gap` of the last maps.

    A connector (1x1 convolution without bias, BN) takes the student's map to the teacher's width; it trains with the
    student, also where the widths agree, as in the official code. Both sides take B C_t^2 numbers of memory.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.pairs = paired(context, most=1)
        self.connector = connector(context.student_features[-1][0], context.teacher_features[-1][0])

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        return {"ickd": channel_correlation_gap(self.connector(f_student), f_teacher)}
