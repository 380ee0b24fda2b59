"""Variants of an arm: the same but for a few fields, such as the lengths of a ladder."""

from __future__ import annotations

from dataclasses import dataclass

from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.recipe import ArmRecipe, Recipe
from benchbench.suite.schema import Arm


@dataclass(frozen=True)
class Variant:
    """One variant.

    Attributes:
        epochs: of the recipe; None leaves it as it is.
    """

    epochs: int | None = None

    @property
    def suffix(self) -> str:
        """Its part of the row's name in the tables."""
        return "" if self.epochs is None else f" ({self.epochs} epoch{'s' if self.epochs > 1 else ''})"

    def of(self, arm: Arm) -> Arm:
        """The arm with its changes."""
        return arm if self.epochs is None else arm.model_copy(update={"recipe": self.recipe(arm.recipe)})

    def recipe(self, recipe: ArmRecipe) -> Recipe:
        """An arm's recipe with the changes."""
        values = {name: getattr(recipe, name) for name in recipe.model_fields_set} | {"epochs": self.epochs}
        return Recipe.model_construct(**values)


def variants(file: SuiteFile, label: str) -> list[Variant]:
    """The variants of an arm, in the suite's order; one that changes nothing where it has none.

    Raises:
        SuiteError: a ladder that cannot be.
    """
    arm, loc = file.suite.arms[label], ("arms", label, "recipe", "epochs")
    lengths = arm.recipe.epochs
    if not isinstance(lengths, list):
        return [Variant()]
    _check_ladder(file, arm, lengths, loc)
    return [Variant(epochs) for epochs in lengths]


def _check_ladder(file: SuiteFile, arm: Arm, lengths: list[int], loc: Loc) -> None:
    if arm.method == "published":
        raise file.error("a network that is tested as published has no epochs", loc, "take the ladder out")
    if len(lengths) < 2:
        raise file.error("a ladder has two lengths or more", loc, "write one length without brackets")
    if sorted(set(lengths)) != lengths:
        raise file.error(f"the lengths of a ladder rise, and each stands once (given: {lengths})", loc)
