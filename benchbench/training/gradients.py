"""Gradients of a step: the parts of a batch that they are summed over, and their limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from benchbench.data.batch import Batch
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs
from benchbench.specs.parts import RecipeSpec


def accumulated(
    batch: Batch, teacher_outputs: Sequence[Outputs], count: int
) -> Iterator[tuple[Batch, Sequence[Outputs], float]]:
    """The parts of a batch with the teachers' outputs for them, and the share of the images that each has.

    The mean of a part's losses times its share, summed up, is the mean over the batch.
    """
    if count == 1:
        yield batch, teacher_outputs, 1.0
        return
    images = len(batch.labels)
    for first, part in enumerate(batch.parts(count)):
        outputs = [each.part(slice(first, None, count)) for each in teacher_outputs]
        yield part, outputs, len(part.labels) / images


def clip_gradients(recipe: RecipeSpec, model: Backbone, losses: nn.Module) -> None:
    """Limits the gradients of all that trains, as timm's `dispatch_clip_grad` does.

    `norm`: g <- g min(1, c / |g|) for all gradients together, with the losses' parts; `value`: each number to -c..c;
    `agc`: each unit's gradient to c times the norm of its weights (Brock et al. 2021, arXiv 2102.06171), but for those
    of `Backbone.classifiers`, which that paper leaves out.

    Args:
        recipe: with the limit c and its mode.
        model: the network.
        losses: with trainable parts of their own.
    """
    limit = recipe.clip_grad
    assert limit is not None
    heads = {each for part in model.classifiers for each in part.parameters()}
    body = [each for each in model.parameters() if each not in heads and each.grad is not None]
    body += [each for each in losses.parameters() if each.grad is not None]
    if recipe.clip_mode == "agc":
        from timm.utils.agc import adaptive_clip_grad

        adaptive_clip_grad(body, limit)
        return
    parameters = [*body, *(each for each in model.parameters() if each in heads and each.grad is not None)]
    if recipe.clip_mode == "value":
        nn.utils.clip_grad_value_(parameters, limit)
    else:
        nn.utils.clip_grad_norm_(parameters, limit)
