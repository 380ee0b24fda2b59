"""Channel-wise distillation: every channel of the student is active where the teacher's is."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import CWDParams
from benchbench.losses.connectors import connector
from benchbench.losses.logits import task_logits
from benchbench.losses.maps import same_size
from benchbench.losses.positions import require_positions
from benchbench.models.outputs import Outputs
from benchbench.models.pixels import enlarged


def channel_kl(f_student: Tensor, f_teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 / (B C) sum_bc KL(phi(F^t_bc) || phi(F^s_bc)), phi = softmax(. / T) over the positions of one channel.

    Source: Shu et al. 2021, "Channel-wise Knowledge Distillation for Dense Prediction" (arXiv 2011.13256), section 3,
    with T = 4. They weigh the loss on feature maps by 50, and that on logits by 3; mmrazor's configuration for
    Cityscapes has T = 1 and weighs logits by 5.

    Args:
        f_student, f_teacher: maps [B, C, H, W] of one shape.
    """
    log_s, log_t = (F.log_softmax(x.flatten(2) / temperature, dim=2) for x in (f_student, f_teacher))
    return temperature**2 * F.kl_div(log_s.flatten(0, 1), log_t.flatten(0, 1), reduction="batchmean", log_target=True)


class CWD(Loss):
    """Term `cwd`: `channel_kl` of the last maps, the larger one averaged down to the other's size.

    Where the two differ in width, a 1x1 convolution, which trains with the student, takes the student's map to the
    teacher's width, as in the paper. With `logits`, of the logits of a segmentation, whose channels are the classes,
    the teacher's at the size of the student's.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CWDParams(**params)
        self.connector: nn.Module = nn.Identity()
        if not self.params.logits:
            require_positions(context, "loss 'cwd' compares where channels are active")
            c_student, c_teacher = context.student_features[-1][0], context.teacher_features[-1][0]
            if c_student != c_teacher:
                self.connector = connector(c_student, c_teacher, norm=False)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        if self.params.logits:
            s = task_logits(student)
            t = enlarged(task_logits(teacher), s)
        else:
            s, t = same_size(student.features[-1], teacher.features[-1])
        return {"cwd": channel_kl(self.connector(s), t, self.params.temperature)}
