"""Base classes and types of the parts of a suite file: strict mappings, labels, components by name."""

from __future__ import annotations

import typing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from benchbench.errors import did_you_mean
from benchbench.specs.parts import Json, State

# Labels reach tables, file names and terminals: no dots (the separator of --set), nothing to escape, no formula.
LABEL = r"^[A-Za-z0-9][A-Za-z0-9 _+/()-]*$"
MODEL = r"^[\w.-]+(/[\w.-]+)?$"
PACKAGE = r"^[A-Za-z0-9][\w.-]*$"
NAME = r"^[A-Za-z0-9][\w-]*$"
PATTERNS_IN_WORDS = {
    LABEL: "a label begins with a letter or digit and goes on with those, spaces and _ + - / ( )",
    MODEL: "write SOURCE/NAME, as in timm/resnet18",
    PACKAGE: "write the name of one package",
    NAME: "a suite's name is made of letters, digits, - and _",
}
Label = Annotated[str, StringConstraints(pattern=LABEL, max_length=60)]

TeacherState = State
Positive = Annotated[float, Field(gt=0)]
Auto = Literal[True, False, "auto"]
Percent = Annotated[float, Field(ge=0, le=100)]


class Strict(BaseModel):
    """Base of every part of a suite: frozen; an unknown key is refused with a suggestion, and so are .inf and .nan."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    hint = did_you_mean(str(key), cls.model_fields)
                    raise PydanticCustomError("unknown_key", "unknown key '{key}'; {hint}", {"key": key, "hint": hint})
                kinds = {cls.model_fields[key].annotation, *typing.get_args(cls.model_fields[key].annotation)}
                if kinds & {int, float} and isinstance(data[key], bool | str):
                    # Pydantic would take "5" and true for numbers.
                    context = {"key": key, "value": repr(data[key])}
                    raise PydanticCustomError("unknown_key", "write a number (given: {value})", context)
        return data


class Ref(Strict):
    """A component by name, with its parameters: `name` or `{name: {parameter: value}}`."""

    name: str
    params: Json = {}


def one_ref(value: Any) -> Any:
    """Input of a `Ref`, in either form."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        name, params = next(iter(value.items()))
        return {"name": name, "params": params or {}}
    raise PydanticCustomError("ref", "a component is written `name` or `{name: {parameter: value}}`")
