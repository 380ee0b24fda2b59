"""A loss in one file: the student should find the same images of a batch alike as the teacher does."""

from pydantic import Field

from benchbench import Component, Params, hookimpl


class RelationParams(Params):
    temperature: float = Field(0.1, gt=0, description="divides the cosine similarities")


@hookimpl
def benchbench_losses():
    summary = "KL divergence between in-batch similarity distributions"
    yield Component("relation", f"{__name__}:relation", RelationParams, summary, needs=frozenset({"teacher"}))


def relation(student, teacher, batch, *, temperature):
    """KL(p_t || p_s), p = softmax over the batch's other images of cos(h_i, h_j) / temperature; batch mean."""
    import torch  # here, so that listing plugins never imports it
    from torch.nn import functional as F

    def log_similarities(embedding):
        unit = F.normalize(embedding, dim=1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        rows = (unit @ unit.T / temperature).masked_fill(itself, float("-inf"))
        return rows.log_softmax(dim=1).masked_fill(itself, 0)

    target = log_similarities(teacher.embedding)
    return F.kl_div(log_similarities(student.embedding), target, reduction="batchmean", log_target=True)
