"""Docstrings, defaults and tables as Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Link = Callable[[str], str | None]  # the target of a name in `backticks`
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example):")


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
