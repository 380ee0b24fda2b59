"""DOT, two momenta for one network, in plans: refused where it cannot work as it is published."""

from __future__ import annotations

from benchbench.components import Registry
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import Recipe


def check_dot(file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, registry: Registry) -> TrainingSpec:
    """Refuses `dot` with another optimiser than SGD, with momenta that cannot be, and with what takes one gradient.

    Returns:
        The spec; without DOT where that of arms reaches a pre-training whose losses all read a teacher.

    Raises:
        SuiteError: at the field.
    """
    dot, (place, _) = spec.recipe.dot, merged.parts[-1]
    if dot is None:
        return spec
    of_corpus, has_task_loss = spec.kind == "pretraining", _has_task_loss(spec, registry)
    if of_corpus and not has_task_loss and merged.loc_of("dot")[0] != place[0]:
        return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"dot": None})})
    where = f" (pre-training '{place[1]}')" if of_corpus else ""
    out = "give the pre-training `recipe: {dot: null}`" if of_corpus else "take dot out"
    for problem, hint, field in _problems(dot, merged.recipe, has_task_loss):
        message = f"dot keeps two momenta of SGD, and {problem}{where}"
        raise file.error(message, merged.loc_of("dot", field), f"{hint}, or {out}")
    return spec


def drops_dot(merged: MergedRecipe, spec: TrainingSpec) -> bool:
    """True where a recipe that is for this training, and not for those of other methods too, has a `dot` in vain."""
    if merged.recipe.dot is None or spec.recipe.dot is not None:
        return False
    loc = merged.loc_of("dot")[:-1]
    shared = loc[0] == "data" or loc[-1] == "default" or (loc[0] in ("students", "teachers") and loc[-1] == "recipe")
    return spec.method == "distill" or not shared


def _has_task_loss(spec: TrainingSpec, registry: Registry) -> bool:
    return not all(registry.get("loss", loss.name).reads_teacher for loss in spec.loss)


def _problems(dot: float, recipe: Recipe, has_task_loss: bool) -> list[tuple[str, str, str]]:
    """The error, the remedy, and the field that does not go with `dot`."""
    low, high = recipe.momentum - dot, recipe.momentum + dot
    checks = {
        ("no loss is without a teacher", "add `ce`", "dot"): not has_task_loss,
        (f"the optimizer is {recipe.optimizer}", "write `optimizer: sgd`", "optimizer"): recipe.optimizer != "sgd",
        ("optimizer_params are of one", "take these out", "optimizer_params"): bool(recipe.optimizer_params),
        (f"{low:g} and {high:g} are not in 0..1", "take a smaller `dot`", "momentum"): low < 0 or high >= 1,
        ("clip_grad limits one gradient", "take that out", "clip_grad"): recipe.clip_grad is not None,
        ("accumulate adds up one gradient", "take that out", "accumulate"): recipe.accumulate > 1,
        ("fp16 scales one gradient", "take another precision", "precision"): recipe.precision == "fp16",
        ("several devices average one gradient", "take `devices: 1`", "devices"): recipe.devices > 1,
    }
    return [words for words, applies in checks.items() if applies]
