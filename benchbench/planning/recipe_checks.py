"""Recipes that a data set does not allow, found before anything runs."""

from __future__ import annotations

from benchbench.data.info import DataInfo
from benchbench.errors import did_you_mean, quoted
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.specs.stages import TrainingSpec
from benchbench.suite.file import SuiteFile


def check_recipe(file: SuiteFile, merged: MergedRecipe, spec: TrainingSpec, info: DataInfo) -> None:
    """Refuses a recipe whose classes or validation images are not there.

    Args:
        file: the suite.
        merged: the recipe, with its places in the suite.
        spec: of the stage.
        info: of its data set.

    Raises:
        SuiteError: in one line, at the field.
    """
    recipe = merged.recipe
    if recipe.early_stop is not None and not (spec.data.validation or info.validation):
        problem = "early_stop needs a validation split: the test set is never used to choose"
        raise file.error(problem, merged.loc_of("early_stop"), "add `selection: {validation: 0.1}`")
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
