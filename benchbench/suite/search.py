"""A search over hyper-parameters of an arm, as a suite writes it."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from pydantic import Field, JsonValue, StrictInt
from pydantic_core import PydanticCustomError

from benchbench.errors import did_you_mean, quoted
from benchbench.suite.fields import Strict

OWN_KEYS = ("trials", "seed")
ENDS = {"low", "high", "log"}
FORM = "write a list of values, `[0.01, 0.1]`, or a range, `{low: 0.001, high: 0.1, log: true}`"


class Range(Strict):
    """Values between two ends."""

    low: float = Field(description="the smallest value")
    high: float = Field(description="the largest value")
    log: bool = Field(False, description="draw evenly by order of magnitude")


class SearchEntry(Strict):
    """Values of fields of an arm, to choose from by validation accuracy.

    Keys are dotted: `recipe.FIELD`, `loss.NAME.weight` or `loss.NAME.PARAMETER`. Their values are lists, or ranges
    `{low: 0.001, high: 0.1, log: true}`, of which `trials` are drawn.
    """

    trials: StrictInt | None = Field(None, ge=2, description="combinations to draw, all different; default: all")
    seed: StrictInt = Field(0, description="draws them")
    fields: dict[str, list[JsonValue] | Range] = Field(
        title="recipe.FIELD, loss.NAME.PARAMETER",
        description="a list of values, or a range; `loss.NAME.weight` is the weight of a loss in the sum",
    )


def search_entry(value: Any) -> Any:
    """The fields of a search apart from its own keys."""
    if not isinstance(value, dict):
        return value
    fields = {key: _values(key, item) for key, item in value.items() if key not in OWN_KEYS}
    if not fields:
        raise PydanticCustomError("search", "name a field to search, as in `{recipe.lr: [0.01, 0.1]}`")
    return {**{key: value[key] for key in OWN_KEYS if key in value}, "fields": fields}


def _values(key: str, value: Any) -> Any:
    """The values of a field: a list of them, or a range."""
    if "." not in key:
        words = "it has `trials`, `seed` and dotted keys: `recipe.FIELD`, `loss.NAME.weight`, `loss.NAME.PARAMETER`"
        close = did_you_mean(key, OWN_KEYS)
        raise _refusal(key, words + (f"; {close}" if close.startswith("did") else ""))
    if isinstance(value, list):
        _check_list(key, value)
        return value
    if not isinstance(value, dict):
        raise _refusal(key, f"{FORM} (given: {quoted(repr(value))})")
    for name in value:
        if name not in ENDS:
            raise _refusal(key, f"unknown key '{quoted(str(name))}' of a range; {did_you_mean(str(name), ENDS)}")
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    if not (_is_number(low) and _is_number(high) and isinstance(log, bool)):
        words = "a range has two numbers, `low` and `high`, and perhaps `log: true`"
        raise _refusal(key, f"{words} (given: {quoted(repr(value))})")
    if low >= high:
        raise _refusal(key, f"`low` is under `high` (given: {low:g} and {high:g})")
    if log and low <= 0:
        raise _refusal(key, f"`low` is above 0 where `log` is true (given: {low:g})")
    return Range(low=low, high=high, log=log)


def _is_number(value: Any) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _check_list(key: str, values: list[Any]) -> None:
    if not values:
        raise _refusal(key, FORM)
    for index, value in enumerate(values):
        if value in values[:index]:
            raise _refusal(key, f"{quoted(repr(value))} is listed twice; keep one of them")


def _refusal(key: str, words: str) -> PydanticCustomError:
    """An error at one key of a search."""
    return PydanticCustomError("unknown_key", "{words}", {"key": key, "words": words})
