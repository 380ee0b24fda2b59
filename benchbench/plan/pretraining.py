"""Published recipes of public weights, to price the pre-training that nobody repeats."""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from benchbench.suite.schema import ModelEntry, PreTraining


@functools.cache
def _table() -> list[dict[str, Any]]:
    text = (files("benchbench.plan") / "pretraining.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def published_recipe(entry: ModelEntry) -> PreTraining | None:
    """The recipe that an entry's weights were pre-trained with: the suite's word, else the table's, else None."""
    if entry.pretraining is not None or entry.weights is None:
        return entry.pretraining
    for row in _table():
        recipe = _recipe(row, entry.model, entry.weights.pypi, entry.weights.pretrained)
        if recipe is not None:
            return PreTraining(**recipe)
    return None


def _recipe(row: dict[str, Any], model: str, pypi: str | None, tag: str | None) -> dict[str, Any] | None:
    """What a row of the table says of these weights; None where it is about others."""
    if "pypi" in row:
        return row["recipe"] if pypi == row["pypi"] else None
    if "tag" in row:
        found = re.fullmatch(row["tag"], tag) if tag and model.startswith(f"{row['source']}/") else None
        return {**row["recipe"], **{name: int(value) for name, value in found.groupdict().items()}} if found else None
    return row["recipe"] if model in row["models"] and tag in row["pretrained"] else None
