"""Columns of parquet files in Hugging Face's layout: images, labels and class names.

Class names are in the schema's metadata, under the key `huggingface`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from benchbench.data.sources.parquet_labels import LabelChoice, choose_label, holds_labels, is_text, why_not
from benchbench.errors import DataError, one_line

# Of columns that name files.
_PATH_NAMES = ("image", "img", "path", "image_path", "file", "file_name", "filename", "filepath", "file_path")
_PATHS = "holds paths of files and no images; write the files' bytes into the column, or take `imagefolder`"


@dataclass(frozen=True)
class Columns:
    """Names of the two columns.

    Attributes:
        names: of the classes; None where the files do not name them.
        by_type: whether nothing but its type says that a column holds labels.
    """

    image: str
    label: str
    names: tuple[str, ...] | None
    by_type: bool = False


def count_rows(file: Path) -> int:
    """Rows of a file, from its footer.

    Raises:
        DataError: it is damaged.
    """
    return _footer(file).metadata.num_rows


def find_columns(files: Sequence[str], image: str | None, label: str | None) -> Columns:
    """Columns and class names, the same in every file.

    Args:
        files: at least one.
        image, label: columns that the user named; None for the only one of its type.

    Raises:
        DataError: a column is absent, of the wrong type, or one of several that could be meant.
    """
    first = _columns_of(files[0], image, label)
    for file in files[1:]:
        if _columns_of(file, image, label) != first:
            raise DataError(f"huggingface: {file} has other columns or class names than {files[0]}")
    return first


def _footer(file: Path | str) -> Any:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"huggingface: cannot read {file} ({one_line(error)})") from error


def _columns_of(file: str, image: str | None, label: str | None) -> Columns:
    schema = _footer(file).schema_arrow
    choice = _ColumnChoice(file, schema, _features(schema, file))
    chosen_image = choice.image(image)
    chosen_label = choice.label(label)
    return Columns(chosen_image, chosen_label.column, choice.class_names(chosen_label.column), chosen_label.by_type)


@dataclass(frozen=True)
class _ColumnChoice:
    """The columns of one file.

    Attributes:
        features: the metadata's account of each column.
    """

    file: str
    schema: pa.Schema
    features: Mapping[str, JsonValue]

    def image(self, name: str | None) -> str:
        """The column that the user named, else the only one that the metadata types so, else the only readable one."""
        readable = self._image_columns()
        if name is not None:
            if name in readable:
                return name
            raise self._error(f"column '{name}' cannot be the image column{self._other_images()}")
        candidates = [column for column in readable if self._type(column) == "Image"] or readable
        if len(candidates) == 1:
            return candidates[0]
        hint = "; say which with 'image'" if candidates else self._other_images()
        raise self._error(f"{len(candidates) or 'no'} columns could be the image column{hint}")

    def label(self, name: str | None) -> LabelChoice:
        """The column that the user named, else the one that `choose_label` finds."""
        if name is None:
            types = {field.name: self._type(field.name) for field in self.schema}
            choice = choose_label(self.schema, types, self._image_columns())
        elif name not in self.schema.names:
            choice = LabelChoice(problem=f"column '{name}' cannot be the label column, for it is not there")
        elif not holds_labels(self.schema.field(name).type):
            choice = LabelChoice(
                problem=f"column '{name}' cannot be the label column: {why_not(self.schema.field(name))}"
            )
        else:
            choice = LabelChoice(name)
        if choice.problem:
            raise self._error(choice.problem)
        return choice

    def _image_columns(self) -> list[str]:
        """Columns of encoded images; sound and the like come in the same types, and the metadata says so."""
        kinds = (None, "Image", "Value")
        return [each.name for each in self.schema if _holds_images(each.type) and self._type(each.name) in kinds]

    def _other_images(self) -> str:
        """Advice on images that are there in another form."""
        for column in self.schema:
            kind = column.type
            if pa.types.is_struct(kind):
                inside = [part.name for part in kind if _holds_images(part.type)]
                if inside:
                    return f": '{column.name}' is a struct with images in it ('{inside[0]}'); make them a column"
                if kind.names == ["path"]:
                    return f": '{column.name}' {_PATHS}"
            if is_text(kind) and column.name.lower() in _PATH_NAMES:
                return f": '{column.name}' {_PATHS}"
            if pa.types.is_list(kind) and _holds_images(kind.value_type):
                return f": '{column.name}' holds lists of images; write one image a row"
        return ""

    def _error(self, problem: str) -> DataError:
        every = ", ".join(f"{field.name} ({self._type(field.name) or field.type})" for field in self.schema)
        return DataError(f"huggingface: {problem}; columns of {self.file}: {every}")

    def class_names(self, label: str) -> tuple[str, ...] | None:
        """Class names by number; None where the files do not hold them."""
        feature = self.features.get(label)
        names = feature.get("names") if isinstance(feature, dict) and self._type(label) == "ClassLabel" else None
        return tuple(map(str, names)) if isinstance(names, list) and names else None

    def _type(self, column: str) -> str | None:
        """The type that the metadata gives a column."""
        feature = self.features.get(column)
        kind = feature.get("_type") if isinstance(feature, dict) else None
        return str(kind) if kind is not None else None


def _features(schema: pa.Schema, file: str) -> Mapping[str, JsonValue]:
    """The metadata's account of each column; empty where another program wrote the file."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        return dict(json.loads(text)["info"]["features"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"huggingface: the metadata of {file} is broken ({one_line(error)})") from error


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view()
