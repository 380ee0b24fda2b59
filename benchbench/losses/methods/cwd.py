"""Channel-wise distillation: every channel of the student is active where the teacher's is."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import CWDParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs


def channel_kl(f_student: Tensor, f_teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 / (B C) sum_bc KL(phi(F^t_bc) || phi(F^s_bc)), phi = softmax(. / T) over the positions of one channel.

    Source: Shu et al. 2021, "Channel-wise Knowledge Distillation for Dense Prediction" (arXiv 2011.13256), section 3,
    with T = 4. They weigh the loss on feature maps by 50.

    Args:
        f_student, f_teacher: maps [B, C, H, W] of one shape.
    """
    log_s, log_t = (F.log_softmax(x.flatten(2) / temperature, dim=2) for x in (f_student, f_teacher))
    return temperature**2 * F.kl_div(log_s.flatten(0, 1), log_t.flatten(0, 1), reduction="batchmean", log_target=True)


class CWD(Loss):
    """Term `cwd`: `channel_kl` of the last maps, the larger one averaged down to the other's size.

    Where the two differ in width, a 1x1 convolution, which trains with the student, takes the student's map to the
    teacher's width, as in the paper.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CWDParams(**params)
        self.pairs = paired(context, most=1)
        (c_student, h_student, w_student), (c_teacher, h_teacher, w_teacher) = (
            context.student_features[-1],
            context.teacher_features[-1],
        )
        if min(h_student, h_teacher) * min(w_student, w_teacher) == 1:
            raise StageError(
                "loss 'cwd' compares where channels are active, and at the size of the smaller last map there is but "
                "one position; take larger images or other networks"
            )
        self.connector = connector(c_student, c_teacher, norm=False) if c_student != c_teacher else nn.Identity()
        self.to(context.device)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        f_student, f_teacher = same_size(f_student, f_teacher)
        return {"cwd": channel_kl(self.connector(f_student), f_teacher, self.params.temperature)}
