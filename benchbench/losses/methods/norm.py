"""N-to-one matching: the student's last map, expanded, holds several copies of the teacher's."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import NORMParams
from benchbench.losses.maps import both_maps, paired, require_pooled, same_size
from benchbench.models.outputs import Outputs


def copies_error(expanded: Tensor, f_teacher: Tensor, copies: int) -> Tensor:
    """sum_n 1/(B C H W) sum (E_n - F^t)^2, E_n the n-th group of channels of the expanded map.

    Source: Liu, Li, Chen and Yao 2023, "NORM: Knowledge Distillation via N-to-One Representation Matching" (ICLR 2023,
    arXiv 2305.13803), section 3.

    Args:
        expanded: E [B, N C, H, W].
        f_teacher: F^t [B, C, H, W].
        copies: N.
    """
    return copies * F.mse_loss(expanded, f_teacher.repeat(1, copies, 1, 1))


class ExpandingHead(nn.Module):
    """The student's classifier [B, D_s] -> [B, classes]: h + R E h before one linear layer.

    E [N D_t, D_s] expands and R [D_s, N D_t] reduces. All of it is linear: after training it is one matrix.
    """

    def __init__(self, student_dim: int, teacher_dim: int, classes: int, copies: int = 8):
        super().__init__()
        self.expand = nn.Linear(student_dim, copies * teacher_dim, bias=False)
        self.reduce = nn.Linear(copies * teacher_dim, student_dim, bias=False)
        self.classifier = nn.Linear(student_dim, classes)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding + self.reduce(self.expand(embedding)))


class NORM(Loss):
    """Term `norm`: `copies_error` of the student's last map behind E of its `ExpandingHead`, position by position.

    The larger map is averaged down to the other's size. The embeddings must be the means of the last maps:
    those of a class token, or normalised after pooling, are refused.

    Source: as there. The official code puts E and R, each with BN, behind the last stage's map; here they are part of
    the classifier, which for a pooled embedding is the same but for BN. It takes the maximum where the teacher's map is
    larger, standardises all logits, and has a schedule for the weight: 0.1, 0.5, 1, 0.5 and 0.1 from epochs 0, 10, 20,
    180 and 210 of 240.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = NORMParams(**params)
        self.pairs = paired(context, most=1)
        if not isinstance(context.student_head, ExpandingHead):
            raise StageError("loss 'norm' needs the student's head to be the one that its `make_head` builds")
        widths = (
            ("student", context.student_features, context.student_dim),
            ("teacher", context.teacher_features, context.teacher_dim),
        )
        for side, maps, width in widths:
            if maps[-1][0] != width:
                raise StageError(
                    f"loss 'norm' needs a last map that is pooled into the embedding, and of this {side} they have "
                    f"{maps[-1][0]} and {width} channels; take another {side}"
                )
            require_pooled("norm", side, context, instead="simkd")
        # In a tuple it stays out of this loss's parameters and state: it is trained and saved as a part of the student.
        self.head = (context.student_head,)

    @staticmethod
    def make_head(student_dim: int, teacher_dim: int, classes: int, **params: Any) -> ExpandingHead:
        """The head that takes the place of the student's own."""
        return ExpandingHead(student_dim, teacher_dim, classes, **NORMParams(**params).model_dump())

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        f_student, f_teacher = same_size(f_student, f_teacher)
        expanded = F.conv2d(f_student, self.head[0].expand.weight[:, :, None, None])
        return {"norm": copies_error(expanded, f_teacher, self.params.copies)}
