"""Columns of parquet files in Hugging Face's layout: images, labels and class names.

Class names are in the schema's metadata, under the key `huggingface`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from benchbench.errors import DataError, one_line


@dataclass(frozen=True)
class Columns:
    """Names of the two columns; `names` is None where the files do not name their classes."""

    image: str
    label: str
    names: tuple[str, ...] | None


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


def read_labels(files: Sequence[str], label: str) -> np.ndarray:
    """Labels of all rows [N], int64.

    Raises:
        DataError: a file cannot be read, or a label is missing.
    """
    parts = []
    for file in files:
        try:
            column = pq.ParquetFile(file).read(columns=[label]).column(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"huggingface: cannot read the labels of {file} ({one_line(error)})") from error
        if column.null_count:
            row = column.is_null().to_numpy().argmax()
            raise DataError(f"huggingface: {file}, row {row}: the column '{label}' is empty")
        parts.append(column.to_numpy().astype(np.int64))
    return np.concatenate(parts)


def _footer(file: Path | str) -> Any:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"huggingface: cannot read {file} ({one_line(error)})") from error


def _columns_of(file: str, image: str | None, label: str | None) -> Columns:
    schema = _footer(file).schema_arrow
    choice = _ColumnChoice(file, schema, _features(schema, file))
    image = choice.pick("image", image, _holds_images, "Image")
    label = choice.pick("label", label, pa.types.is_integer, "ClassLabel")
    return Columns(image, label, choice.class_names(label))


@dataclass(frozen=True)
class _ColumnChoice:
    """The columns of one file.

    Attributes:
        features: the metadata's account of each column.
    """

    file: str
    schema: pa.Schema
    features: Mapping[str, JsonValue]

    def pick(self, role: str, name: str | None, readable: Callable[[pa.DataType], bool], typed: str) -> str:
        """The column that the user named, else the only one that the metadata types so, else the only readable one."""
        if name is not None and name in self.schema.names and readable(self.schema.field(name).type):
            return name
        fitting = [field.name for field in self.schema if readable(field.type)]
        candidates = [column for column in fitting if self._type(column) == typed] or fitting
        if name is None and len(candidates) == 1:
            return candidates[0]
        every = ", ".join(f"{field.name} ({self._type(field.name) or field.type})" for field in self.schema)
        if name is not None:
            problem = f"column '{name}' cannot be the {role} column"
        else:
            problem = f"{len(candidates) or 'no'} columns could be the {role} column; say which with '{role}'"
        raise DataError(f"huggingface: {problem}; columns of {self.file}: {every}")

    def class_names(self, label: str) -> tuple[str, ...] | None:
        """Class names by number; None where the files do not hold them."""
        feature = self.features.get(label)
        names = feature.get("names") if isinstance(feature, dict) and self._type(label) == "ClassLabel" else None
        return tuple(map(str, names)) if isinstance(names, list) and names else None

    def _type(self, column: str) -> JsonValue:
        """The type that the metadata gives a column."""
        feature = self.features.get(column)
        return feature.get("_type") if isinstance(feature, dict) else None


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
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
