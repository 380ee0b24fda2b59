"""Refusals of DOT, two momenta for one network, where it cannot work as it is published."""

from __future__ import annotations

from benchbench.components import Registry
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import Recipe


def check_dot(file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, registry: Registry) -> None:
    """Refuses `dot` with another optimiser than SGD, with momenta that cannot be, and with what takes one gradient.

    Raises:
        SuiteError: at the field.
    """
    dot, recipe = spec.recipe.dot, merged.recipe
    if dot is None:
        return
    for problem, hint in _problems(dot, recipe, spec, registry):
        raise file.error(f"dot keeps two momenta of SGD, and {problem}", merged.loc_of("dot"), hint)


def _problems(dot: float, recipe: Recipe, spec: TrainingSpec, registry: Registry) -> list[tuple[str, str]]:
    low, high = recipe.momentum - dot, recipe.momentum + dot
    with_teacher = [registry.get("loss", loss.name).reads_teacher for loss in spec.loss]
    checks = {
        (f"the optimizer is {recipe.optimizer}", "write `optimizer: sgd`, or take dot out"): recipe.optimizer != "sgd",
        ("optimizer_params are of one", "take one of the two out"): bool(recipe.optimizer_params),
        (f"{low:g} and {high:g} are not in 0..1", "take a smaller `dot`"): low < 0 or high >= 1,
        ("no loss of the arm is without a teacher", "add `ce`, or take dot out"): all(with_teacher),
        ("clip_grad limits one gradient", "take one of the two out"): recipe.clip_grad is not None,
        ("accumulate adds up one gradient", "take one of the two out"): recipe.accumulate > 1,
        ("fp16 scales one gradient", "take another precision"): recipe.precision == "fp16",
        ("several devices average one gradient", "take `devices: 1`"): recipe.devices > 1,
    }
    return [words for words, applies in checks.items() if applies]
