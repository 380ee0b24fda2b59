"""A loss for BenchBench: the student should be as unsure of an image as the teacher is."""

from pydantic import Field

from benchbench import Component, Params, hookimpl


class LossParams(Params):
    temperature: float = Field(4.0, gt=0, description="divides the logits")


@hookimpl
def benchbench_losses():
    summary = "squared difference of the predictions' entropies"
    needs = frozenset({"teacher.logits"})  # what it reads; a teacher that is not adapted to the task has no logits
    yield Component("template", f"{__name__}:loss", LossParams, summary, needs)


def loss(student, teacher, batch, *, temperature):
    """(H(p_s) - H(p_t))^2, p = softmax(logits / temperature), H(p) = -sum p log p; batch mean.

    Called with two `Outputs` (logits, embedding, features) in float32, the teacher's without a gradient, and the
    `Batch` that they are of; gives a scalar tensor or a dict of them. A loss with weights of its own is a class
    instead, derived from `benchbench.losses.base.Loss`.
    """
    # torch would be imported here, and not at the top: `benchbench list` loads this file and must stay quick.

    def entropy(logits):
        log_p = (logits / temperature).log_softmax(dim=1)
        return -(log_p.exp() * log_p).sum(dim=1)

    return (entropy(student.logits) - entropy(teacher.logits)).square().mean()
