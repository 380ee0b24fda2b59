"""A full recipe that is put together from the parts of a suite."""

from __future__ import annotations

from dataclasses import dataclass

from benchbench.suite.document import Loc
from benchbench.suite.recipe import Recipe


@dataclass(frozen=True)
class MergedRecipe:
    """A full recipe.

    Attributes:
        recipe: with every field.
        parts: the places in the suite that it comes from, and their fields, from far to near.
    """

    recipe: Recipe
    parts: tuple[tuple[Loc, Recipe], ...]

    @property
    def loc(self) -> Loc:
        """The place of its augmenters."""
        return self.loc_of("augment")

    def loc_of(self, *fields: str) -> Loc:
        """The place of a field in the nearest part that sets it; of several, of the first that is set nearest."""
        locs = [[*loc, each] for loc, part in self.parts for each in fields[::-1] if each in part.model_fields_set]
        return locs[-1] if locs else ["recipes", "default", fields[0]]
