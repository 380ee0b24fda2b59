"""Short forms in which a suite may write its parts, as pydantic takes them."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticCustomError

from benchbench.errors import quoted
from benchbench.suite.fields import merged, one_ref


def as_refs(value: Any) -> Any:
    """`{flip: {}, random_crop: {padding: 4}}` or `[flip, {random_crop: {padding: 4}}]`, in this order."""
    if isinstance(value, dict):
        return [{"name": name, "params": params or {}} for name, params in value.items()]
    if isinstance(value, list):
        return [one_ref(item) for item in value]
    raise PydanticCustomError("refs", "write components as a mapping `{name: {parameter: value}}` or a list of names")


def as_losses(value: Any) -> Any:
    """`{ce: 1, kd: {weight: 1, temperature: 4}}` or `[ce, {kd: {temperature: 4}}]`."""
    form = "write losses as `{name: weight}` or `{name: {weight: 1, parameter: value}}`"
    if isinstance(value, list):
        value = merged(value, 1.0, form)
    if not isinstance(value, dict) or not value:
        raise PydanticCustomError("losses", form)
    losses = []
    for name, entry in value.items():
        if isinstance(entry, dict):
            own = {key: entry[key] for key in ("weight", "preset") if key in entry}
            params = {key: item for key, item in entry.items() if key not in own}
            losses.append({"name": name, "params": params, **own})
        else:
            losses.append({"name": name, "weight": 1.0 if entry is None else entry})
    return losses


def as_names(value: Any) -> Any:
    """A list of names, each once; one name may stand alone."""
    value = [value] if isinstance(value, str) else value
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        raise PydanticCustomError("listed", "write names alone, without values")
    if value == {} or (isinstance(value, list) and (not value or any(value.count(item) > 1 for item in value))):
        raise PydanticCustomError("listed", "name at least one, each once; leave the key out for all")
    return value


def as_weighted_teachers(value: Any) -> Any:
    """A list of teachers, or a mapping of them to weights."""
    if isinstance(value, dict):
        for teacher, weight in value.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
                context = {"teacher": quoted(str(teacher)), "weight": quoted(repr(weight))}
                problem = "the weight of teacher '{teacher}' is a number above 0 (given: {weight})"
                raise PydanticCustomError("weight", problem, context)
    return as_names(value)


def as_states(value: Any) -> Any:
    """A mapping of states to changes of the recipe, or a list of both, or one state."""
    if isinstance(value, str):
        value = [value]
    form = "write states as a list of names, as a mapping to changes of the recipe, or as a list of both"
    return merged(value, {}, form) if isinstance(value, list) else value
