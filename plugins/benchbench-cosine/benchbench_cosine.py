"""A loss of one's own in one file: the cosine distance between student and teacher embeddings."""

from __future__ import annotations

from benchbench import Component, Params, hookimpl
from pydantic import Field


class CosineParams(Params):
    margin: float = Field(0.0, ge=0, lt=2, description="distances below it cost nothing")


@hookimpl
def benchbench_losses():
    summary = "cosine distance between the embeddings, through a linear map of the student's"
    yield Component("cosine", f"{__name__}:build", CosineParams, summary, needs=frozenset({"teacher"}))


def build(context, *, margin):
    from torch import nn  # here, so that listing plugins stays fast
    from torch.nn import functional as F

    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.connector = nn.Linear(context.student_dim, context.teacher_dim)

        def forward(self, student, teacher, batch):
            similarity = F.cosine_similarity(self.connector(student.embedding), teacher.embedding.detach())
            return {"cosine": F.relu(1 - similarity - margin).mean()}

    return Cosine()
