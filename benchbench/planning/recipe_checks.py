"""Recipes that a data set does not allow, found before anything runs."""

from __future__ import annotations

from benchbench.data.info import DataInfo
from benchbench.errors import did_you_mean, quoted
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.file import SuiteFile

# Fields of an execution that `precision: exact` leaves alone.
PLAIN_WITH_EXACT = ("compile", "fold_bn")


def check_recipe(file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, info: DataInfo) -> TrainingSpec:
    """Refuses a recipe whose classes or validation images are not there, or whose fields exclude each other.

    Args:
        file: the suite.
        merged: the recipe, with its places in the suite.
        spec: of the stage.
        info: of its data set.

    Returns:
        The spec; without early stopping where that of arms reaches a pre-training on images without labels.

    Raises:
        SuiteError: in one line, at the field.
    """
    _check_execution(file, merged)
    _check_classes(file, merged, spec, info)
    if merged.recipe.early_stop is None:
        return spec
    loc = merged.loc_of("early_stop")
    if spec.kind == "pretraining" and not info.labelled:
        if loc[0] == "pretraining":
            problem = "early_stop watches the accuracy on validation images, and images without labels have none"
            raise file.error(problem, loc, "take it out")
        return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"early_stop": None})})
    if not (spec.data.validation or info.validation):
        problem = "early_stop needs a validation split: the test set is never used to choose"
        raise file.error(problem, loc, "add `selection: {validation: 0.1}`")
    return spec


def _check_execution(file: SuiteFile, merged: MergedRecipe) -> None:
    for field in PLAIN_WITH_EXACT if merged.recipe.precision == "exact" else ():
        if getattr(merged.recipe, field) is True:
            problem = f"{field}: `precision: exact` runs a network as it is, as a plain PyTorch loop does"
            raise file.error(problem, merged.loc_of(field), f"take `{field}: auto`, or another precision")


def _check_classes(file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, info: DataInfo) -> None:
    recipe = merged.recipe
    if recipe.sampling == "balanced":
        if not info.labelled:
            raise file.error("sampling: images without labels have no classes to balance", merged.loc_of("sampling"))
        if spec.data.synthetic is not None:
            problem = "sampling: balanced draws from real images alone, and this arm trains on generated ones too"
            raise file.error(problem, merged.loc_of("sampling"), "give the arm `recipe: {sampling: shuffled}`")
    if recipe.class_weights is None:
        return
    loc = merged.loc_of("class_weights")
    if not info.labelled:
        raise file.error("class_weights: images without labels have no classes", loc)
    if isinstance(recipe.class_weights, dict) and info.names:
        for name in recipe.class_weights:
            if name not in info.names:
                hint = did_you_mean(name, info.names)
                raise file.error(f"class_weights: there is no class '{quoted(name)}'; {hint}", [*loc, name])
