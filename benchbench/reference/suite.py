"""The page of the suite file: every key of its schema."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel

from benchbench.cli.pages import slug
from benchbench.reference.markdown import default_of, inline, table
from benchbench.suite import recipe as suite_recipe
from benchbench.suite import schema as suite
from benchbench.suite import search as suite_search
from benchbench.suite import synthetic as suite_synthetic
from benchbench.suite.fields import PATTERNS_IN_WORDS
from benchbench.suite.type_words import limits_of, type_in_words

# Title of each part of the file; a missing one has the name of its class.
TITLES: dict[Any, str] = {
    suite.Suite: "The file",
    suite.Selection: "selection",
    suite.DataEntry: "data: LABEL",
    suite.ModelEntry: "students: LABEL",
    suite.TeacherEntry: "teachers: LABEL",
    suite.WeightsEntry: "weights",
    suite.PreTraining: "students: LABEL: pretraining",
    suite.PretrainingEntry: "pretraining: LABEL",
    suite.Recipes: "recipes",
    suite_recipe.Recipe: "recipe",
    suite_recipe.EarlyStop: "early_stop",
    suite.Arm: "arms: LABEL",
    suite_recipe.ArmRecipe: "arms: LABEL: recipe",
    suite.SearchEntry: "arms: LABEL: search",
    suite_search.Range: "range",
    suite_synthetic.SyntheticEntry: "synthetic: LABEL",
    suite_synthetic.SyntheticUse: "arms: LABEL: synthetic",
    suite_synthetic.Ramp: "share",
    suite_synthetic.QualityEntry: "quality",
    suite.Statistics: "statistics",
    suite.Factors: "factors",
    suite.Published: "published",
}
INTRO = """\
One YAML (1.2) file describes a comparison. Every key is here; others are refused, with their line and a suggestion.
[`suites/quickstart.yaml`](../../suites/quickstart.yaml) is a whole one. `--set KEY=VALUE` overrides any part:
`--set seeds=[0,1,2] --set recipes.default.epochs=5`. Labels, which name the parts of a suite in its tables, begin with
a letter or digit of any script and continue with those, spaces and `_ + - / ( ) . = % : &`. In a key of `--set`, a
backslash stands before a `.` or `=` of a label: `--set 'arms.T\\=4\\.5.recipe.epochs=3'` is about the arm `T=4.5`.

A component is written `name`, or `{name: {parameter: value}}`; a loss, `{name: weight}` or
`{name: {weight: 1, parameter: value}}`. Where several stand together, a list may hold names and mappings of one key:
`loss: [ce, {kd: {temperature: 4}}]`, `augment: [flip, {random_crop: {padding: 4}}]`,
`adapt: [linear_probe, {finetune: {epochs: 5}}]`.

Keys at the top that begin with `x-` are your own, a place for anchors. `--set arms.KD=null` takes an arm out; so with
data, students, teachers, pretraining and synthetic.

`.inf`, `.nan`, numbers in quotes, numbers that begin with 0, tags, dates, a key twice and a second document are
refused. `no` and `on` are text, `1e3` is a number, and a key is a text as it stands: `012`, `true`. A suite has at most
200,000 characters, 20,000 values with aliases written out, 30 levels of nesting and 10,000 cells."""
RECIPE = """\
From far to near: `recipes: default`, `recipes: METHOD`, then the `recipe:` of the data set, of the student or teacher,
and of the arm (for teachers, of the state in `adapt:`)."""


def suite_page() -> str:
    """The page as Markdown."""
    parts = ["# Suite files", INTRO]
    words = _words()
    for model in models():
        parts += [f"## {_title(model)}", inline(" ".join((model.__doc__ or "").split()))]
        if model is suite_recipe.Recipe:
            parts.append(RECIPE)
        base = next((other for other in model.__bases__ if other in TITLES), None)
        if base is not None:
            parts.append(f"Beside these keys, all those of {_link(base)}.")
        own = {key: field for key, field in model.model_fields.items() if base is None or _is_own(model, base, key)}
        rows = [
            [
                f"`{field.title or key}`",
                type_in_words(field.annotation, words),
                default_of(field),
                limits_of(field.metadata, PATTERNS_IN_WORDS),
                inline(field.description or ""),
            ]
            for key, field in own.items()
        ]
        parts.append(table(["key", "type", "default", "limits", "meaning"], rows))
    return "\n\n".join(parts) + "\n"


def models() -> list[type[BaseModel]]:
    """The classes of the schema that are mappings in the file, those that a key leads to after the key's own."""
    classes: list[type[BaseModel]] = [suite.Suite]
    for model in classes:
        for field in model.model_fields.values():
            classes += [each for each in _classes_in(field.annotation) if each not in classes]
    return classes


def _classes_in(annotation: Any) -> list[type[BaseModel]]:
    """The classes of the schema in a type, without those of components, which are written in one line."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if issubclass(annotation, suite.Ref) else [annotation]
    return [each for argument in typing.get_args(annotation) for each in _classes_in(argument)]


def _is_own(model: type[BaseModel], base: type[BaseModel], key: str) -> bool:
    return key not in base.model_fields or key in model.__annotations__


def _title(model: type[BaseModel]) -> str:
    title = TITLES.get(model, model.__name__)
    return title if model is suite.Suite else f"`{title}`"


def _link(model: Any) -> str:
    title = TITLES.get(model, model.__name__)
    return f"[{title}](#{slug(title)})"


def _words() -> dict[Any, str]:
    links = {model: _link(model) for model in models()}
    return {**links, suite.Ref: "component", suite.WeightedRef: "loss", suite.Label: "label"}
