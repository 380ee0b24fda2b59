"""Refusals of losses that read a second view of each image, where there is none to be had."""

from __future__ import annotations

from benchbench.losses.needs import losses_with
from benchbench.planning.resolve import Resolver
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.recipe import Recipe


def check_second_view(resolver: Resolver, loc: Loc, recipe: Recipe, spec: TrainingSpec) -> None:
    """Refuses such a loss where a training has one view of an image, or several images in one.

    Args:
        resolver: of the suite.
        loc: of the losses.
        recipe: whole.
        spec: of the training.

    Raises:
        SuiteError: at the loss.
    """
    names = losses_with("second_view", spec.loss, resolver.registry)
    if not names:
        return
    checks = {
        ("a head alone trains on embeddings of one", "take another method"): spec.trains_head_alone,
        ("it would have no masks or boxes of its own", "take another loss"): spec.model.head is not None,
        ("`views` keeps a teacher's outputs of one at a time", "take `views` out"): spec.recipe.views is not None,
        ("`augment` is empty, so both would be the same", "add an augmenter, `flip` say"): not spec.recipe.augment,
        ("mixed images have no other view", "take out the augmenter that mixes"): bool(spec.recipe.mix),
        ("several devices share a batch of one", "take `devices: 1`"): recipe.devices > 1,
    }
    for (problem, hint), applies in checks.items():
        if applies:
            message = f"loss '{names[0]}' reads a second view of each image, and {problem}"
            raise resolver.file.error(message, [*loc, names[0]], hint)
