"""Aligning the direction of the student's embedding with the teacher's."""

from __future__ import annotations

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs


def cosine_gap(connected: Tensor, target: Tensor) -> Tensor:
    """1 - 1/B sum_i cos(c(h_s)_i, h_t,i), [B, D_t] each; a zero vector has cosine 0 with anything."""
    return 1 - (unit(connected) * unit(target)).sum(dim=1).mean()


class EmbeddingCosine(Loss):
    """Term `embedding_cosine`: `cosine_gap` of the student's embedding, after a connector c, and the teacher's.

    The connector is one affine map [B, D_s] -> [B, D_t], and there is one even where the widths agree: the coordinates
    of two networks mean different things whatever their number, and students of different widths stay comparable.

    Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT" (arXiv 1910.01108), section 3, whose student is
    as wide as its teacher, starts from its layers, and has no connector.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.connector = build_projector("linear", context.student_dim, teacher_width(context))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"embedding_cosine": cosine_gap(self.connector(student.embedding), teacher.embedding)}
