"""Gradients of each term of a loss to the student, beside cross-entropy's: measured once, at the first step.

It changes no number of the training: the network runs as a plain float32 module, so that a compiled one keeps its
buffers; its buffers and the losses' get their values back, random numbers come from a fork of the generators, and no
parameter is given a gradient.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import breaks_device, is_out_of_memory, one_line
from benchbench.hardware.accelerator import widest
from benchbench.hardware.memory import free_memory
from benchbench.losses.multi_teacher import MultiTeacherLoss, loss_of
from benchbench.models.backbone import Backbone
from benchbench.models.detection import task_loss
from benchbench.models.outputs import Outputs
from benchbench.specs.parts import RecipeSpec
from benchbench.specs.records import GradientRecord
from benchbench.training.gradients import accumulated
from benchbench.training.views import outputs_of


def has_losses_to_compare(model: Backbone, losses: MultiTeacherLoss) -> bool:
    """True where there are labels, and a loss beside cross-entropy on them."""
    return bool(model.classes) and bool(losses.loss_weights().keys() - {"ce"})


def term_gradients(
    model: Backbone, losses: MultiTeacherLoss, batch: Batch, teacher_outputs: Sequence[Outputs], recipe: RecipeSpec
) -> GradientRecord | None:
    """Norms of the gradients to the student's parameters; None where there is nothing to compare, or where it fails.

    Losses that vanish are named in the log. Those of a method whose first stage has trained the student are left out.

    Args:
        model: the student, in train mode.
        losses: of the run.
        batch: of the first step.
        teacher_outputs: for it; none without a teacher.
        recipe: of the run. Terms that warm up are measured in the middle of its epochs; of a batch in parts, the first
            part is.
    """
    if not has_losses_to_compare(model, losses):
        return None
    try:
        with _unchanged(model, losses), torch.enable_grad():
            part, outputs, _ = next(iter(accumulated(batch, teacher_outputs, recipe.accumulate)))
            record = _measured(model, losses, replace(part, epoch=recipe.epochs / 2), outputs)
    except Exception as error:  # what is wrong with a loss shows in the step itself
        if breaks_device(error):
            raise
        print(f"gradients of the losses are not known ({one_line(error)})")
        if is_out_of_memory(error):
            free_memory(batch.labels.device.type)
        return None
    for name, ratio in record.vanishing().items():
        print(f"loss '{name}' hardly trains the student: {advice(ratio, losses.loss_weights()[name])}")
    return record


def advice(ratio: float, weight: float) -> str:
    """A reason and a remedy for a loss whose gradient is so small a share of cross-entropy's."""
    if ratio == 0:
        return "no gradient of it reaches the student, whose outputs do not change its value"
    remedy = f"with a weight of {weight / ratio:.2g} in place of {weight:g} it would be as large"
    if ratio < torch.finfo(torch.float32).eps:
        remedy = "that is rounding: on these networks its value hardly depends on the student"
    return f"its gradient is {ratio:.2g} of cross-entropy's; {remedy}"


def _measured(
    model: Backbone, losses: MultiTeacherLoss, batch: Batch, teacher_outputs: Sequence[Outputs]
) -> GradientRecord:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    outputs = outputs_of(model, batch, losses.needs_features)
    assert outputs.logits is not None
    _, terms = losses(outputs, teacher_outputs, batch)
    factors, left_out = losses.factors(terms), {"ce", *losses.trained_first()}
    values = {term: factors[term] * value for term, value in terms.items() if loss_of(term) not in left_out}
    reference = losses.loss_weights().get("ce", 1.0) * task_loss(model, outputs, batch.targets)
    norms = [_norm(value, parameters) for value in (reference, *values.values())]
    first, *rest = torch.stack(norms).tolist()  # one wait for the device
    return GradientRecord(cross_entropy=first, terms=dict(zip(values, rest, strict=True)))


def _norm(value: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Euclidean norm of the gradient of a scalar; 0 where it does not depend on the parameters."""
    wide = widest(value.device)
    if not value.requires_grad:
        return torch.zeros((), dtype=wide, device=value.device)
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    squares = [gradient.to(wide).square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros_like(value, dtype=wide)


@contextlib.contextmanager
def _unchanged(*modules: nn.Module) -> Iterator[None]:
    """Buffers and random generators get their state back at the end."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    devices = {buffer.device for buffer in buffers if buffer.is_cuda}
    with torch.random.fork_rng(list(devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)
