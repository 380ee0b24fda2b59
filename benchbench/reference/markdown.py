"""Docstrings, types and tables as Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

Link = Callable[[str], str | None]  # the target of a name in `backticks`
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example):")
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


def no_link(name: str) -> None:
    """For pages whose names in backticks stay as they are."""


def sections(doc: str | None) -> dict[str, str]:
    """A docstring's text by section; "" is all before the first of Args, Attributes, Returns, Raises, Example."""
    texts: dict[str, list[str]] = {"": []}
    current = ""
    for line in inspect.cleandoc(doc or "").splitlines():
        if SECTION.fullmatch(line):
            current = line.rstrip(":")
            texts[current] = []
        else:
            texts[current].append(line)
    return {name: textwrap.dedent("\n".join(lines)).strip() for name, lines in texts.items()}


def example_of(doc: str | None) -> str:
    """The code of a docstring's section `Example:`; empty where it has none."""
    code = sections(doc).get("Example", "")
    return f"{code}\n" if code else ""


def named(section: str) -> dict[str, str]:
    """The entries of a section Args or Attributes: `name, other: text`, with indented further lines."""
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith(" "):
            name, _, line = line.partition(":")
        entries[name] = f"{entries.get(name, '')} {line.strip()}".strip()
    return entries


def prose(text: str, link: Link = no_link) -> str:
    """Paragraphs of a docstring, one line each; "Source:" stands out, arXiv numbers become links."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]
    return "\n\n".join(re.sub(r"^Source:", "**Source:**", inline(paragraph, link)) for paragraph in paragraphs)


def inline(text: str, link: Link = no_link) -> str:
    """One line of text, with code in backticks, and all else escaped."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(_code(part, link) if part.startswith("`") and len(part) > 1 else _plain(part) for part in parts)


def _code(span: str, link: Link) -> str:
    target = link(span.strip("`"))
    return f"[{span}]({target})" if target else span


def _plain(text: str) -> str:
    text = re.sub(r"([*<]|(?<!\w)_(?=\w)|\](?=\())", r"\\\1", text)
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def listed(entries: Mapping[str, str], link: Link = no_link) -> str:
    """A list of names, each with its text."""
    lines = []
    for names, text in entries.items():
        spans = ", ".join(f"`{name.strip()}`" for name in names.split(","))
        lines.append(f"- {spans}: {inline(text, link)}")
    return "\n".join(lines)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without the columns that are empty in every row; `|` does not end a cell."""
    body = list(rows)
    columns = [index for index in range(len(headers)) if any(row[index] for row in body)]
    lines = [[headers[index] for index in columns], ["---"] * len(columns)]
    lines += [[row[index].replace("|", "\\|").replace("\n", " ") for index in columns] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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


def default_of(field: FieldInfo) -> str:
    """A field's default as YAML writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"`{value:.6g}`"
    if isinstance(value, BaseModel):
        return "empty" if not value.model_fields_set else f"`{value.model_dump(exclude_unset=True)}`"
    if isinstance(value, list | dict) and not value:
        return "empty"
    if isinstance(value, list | tuple):
        return f"`[{', '.join(_item(item) for item in value)}]`"
    return f"`{_item(value)}`"


def _item(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value.name) if isinstance(value, BaseModel) and hasattr(value, "name") else str(value)
