"""Types of parameters and of fields, and their limits, in words for readers of YAML."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

WORDS = {
    int: "integer",
    float: "number",
    bool: "true or false",
    str: "text",
    Path: "path",
    Any: "anything",
    JsonValue: "value",
}
PLURALS = {
    "integer": "integers",
    "number": "numbers",
    "text": "texts",
    "component": "components",
    "loss": "losses",
    "value": "values",
}


def type_in_words(annotation: Any, models: Mapping[Any, str] | None = None) -> str:
    """A type in words for readers of YAML; `models` gives the words for classes of the schema."""
    known = models or {}
    if annotation in known:
        return known[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        limits = limits_of(arguments[1:])
        return type_in_words(arguments[0], known) + (f" ({limits})" if limits else "")
    inner = [type_in_words(argument, known) for argument in arguments if argument not in (type(None), ...)]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(inner)
    if origin is Literal:
        *others, last = (f"`{str(each).lower() if isinstance(each, bool) else each}`" for each in arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin is list:
        return f"list of {_plural(inner[0])}"
    if origin is dict:
        return f"mapping from {inner[0]} to {inner[1]}"
    if origin is tuple and ... in arguments:
        return f"list of {_plural(inner[0])}"
    if origin is tuple:
        return f"list of {', '.join(inner)}" if len(set(inner)) > 1 else f"list of {len(inner)} {_plural(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"mapping of {', '.join(f'`{name}`' for name in annotation.model_fields)}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _plural(words: str) -> str:
    first, space, rest = words.partition(" ")
    return PLURALS.get(first, first) + space + rest


def limits_of(metadata: Iterable[Any], patterns: Mapping[str, str] | None = None) -> str:
    """The bounds in a field's metadata: "> 0, < 1"; a pattern by its words in `patterns`, or not at all."""
    limits = []
    for part in _flat(metadata):
        for attribute, text in (("gt", "> {}"), ("ge", "≥ {}"), ("lt", "< {}"), ("le", "≤ {}")):
            bound = getattr(part, attribute, None)
            if bound is not None:
                limits.append(text.format(f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"))
        least, most = getattr(part, "min_length", None), getattr(part, "max_length", None)
        limits += [f"length ≥ {least}"] if least is not None else []
        limits += [f"length ≤ {most}"] if most is not None else []
        words = (patterns or {}).get(getattr(part, "pattern", None) or "")
        limits += [words] if words else []
    return ", ".join(limits)


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    """Metadata with the parts of each `Field` inside of `Annotated`, in order."""
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from _flat(part.metadata)
        else:
            yield part
