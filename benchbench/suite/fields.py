"""Base classes and types of the parts of a suite file: strict mappings, labels, components by name."""

from __future__ import annotations

import types
import typing
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from benchbench.errors import did_you_mean, quoted
from benchbench.specs.parts import Json, State

# Labels reach tables, terminals and spreadsheets: one line, no formula, and nothing that Markdown or a shell takes for
# its own.
MARKS_OF_LABELS = " _+-/().=%:&·–"
MODEL = r"^[\w.-]+(/(hf-hub:[\w.-]+/)?[\w.-]+(@[\w.-]+)?)?$"
PACKAGE = r"^[A-Za-z0-9][\w.-]*$"
NAME = r"^[A-Za-z0-9][\w-]*$"
OPTIMIZER = r"^((timm|torch)/)?[A-Za-z][A-Za-z0-9]*$"
PATTERNS_IN_WORDS = {
    MODEL: "write SOURCE/NAME, as in timm/resnet18 or timm/hf-hub:USER/NAME",
    PACKAGE: "write the name of one package",
    OPTIMIZER: "write adamw, sgd, timm/NAME or torch/NAME, as in timm/lion",
    NAME: "a suite's name is made of letters, digits, - and _",
}


def _belongs_to_label(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in MARKS_OF_LABELS
    return character in MARKS_OF_LABELS or unicodedata.category(character)[0] in "LMNS"


def _label(text: str) -> str:
    if not (all(_belongs_to_label(each) for each in text) and text[:1].isalnum() and text == text.strip()):
        words = "a label begins with a letter or digit and goes on with those, spaces and {marks}"
        raise PydanticCustomError("label", words, {"marks": " ".join(MARKS_OF_LABELS.strip())})
    return text


Label = Annotated[str, StringConstraints(max_length=60), AfterValidator(_label)]

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
                    context = {"key": key, "name": quoted(str(key)), "hint": did_you_mean(str(key), cls.model_fields)}
                    raise PydanticCustomError("unknown_key", "unknown key '{name}'; {hint}", context)
                # Pydantic would take "5" and true for numbers. Mappings with a validator of their own have their words.
                field = cls.model_fields[key]
                wrong = _no_number(field.annotation, data[key], into_mappings=not field.metadata)
                if wrong is not None:
                    context = {"key": key, "value": quoted(repr(wrong))}
                    raise PydanticCustomError("unknown_key", "write a number (given: {value})", context)
        return data


def _no_number(annotation: Any, value: Any, into_mappings: bool = True) -> bool | str | None:
    """A truth value or text in a number's place, in a value of some type or in its mappings; None where none is."""
    kinds = _alternatives(annotation)
    if isinstance(value, bool | str):
        is_number = bool({int, float} & {*kinds}) and not {bool, str} & {*kinds}
        return value if is_number and not any(typing.get_origin(kind) is Literal for kind in kinds) else None
    values = [typing.get_args(kind)[1] for kind in kinds if typing.get_origin(kind) is dict]
    if not (into_mappings and isinstance(value, dict) and values):
        return None
    return next((wrong for part in value.values() if (wrong := _no_number(values[0], part)) is not None), None)


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have, without what is annotated of them."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _alternatives(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for each in arguments for kind in _alternatives(each)]
    return [annotation]


class Ref(Strict):
    """A component by name, with its parameters: `name` or `{name: {parameter: value}}`."""

    name: str
    params: Json = {}


def merged(items: list[Any], absent: Any, form: str) -> dict[str, Any]:
    """One mapping of a list of names and one-key mappings, `[flip, {random_crop: {padding: 4}}]`.

    Args:
        items: the list.
        absent: value of a name alone.
        form: the forms that there are, for errors.
    """
    mapping: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, str) and not (isinstance(item, dict) and len(item) == 1):
            raise PydanticCustomError("items", "{form} (given: {item})", {"form": form, "item": quoted(repr(item))})
        name, value = (item, absent) if isinstance(item, str) else next(iter(item.items()))
        if name in mapping:
            raise PydanticCustomError("items", "'{name}' is listed twice; keep one of them", {"name": quoted(name)})
        mapping[name] = value
    return mapping


def one_ref(value: Any) -> Any:
    """Input of a `Ref`, in either form."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        name, params = next(iter(value.items()))
        return {"name": name, "params": params or {}}
    raise PydanticCustomError("ref", "a component is written `name` or `{name: {parameter: value}}`")
