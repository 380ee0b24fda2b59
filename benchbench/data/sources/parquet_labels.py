"""The column of labels of parquet files: its choice by name and type, its classes, and the class of each row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchbench.data.sources.common import check_labels, class_order
from benchbench.errors import DataError, one_line

# Names that say what a column is, the plainest first; of two on one line a user has to choose.
NAMES = (
    ("label", "labels"),
    ("class", "classes", "target", "targets", "y", "category", "categories", "cls", "class_label", "label_name"),
    ("class_name", "class_id", "label_id", "category_id", "target_id", "labelid", "classid"),
)
# A column that numbers rows, or describes an image in another way, is never taken for the label by its type alone.
OTHERS = re.compile(
    r"(^|_)(id|ids|idx|index|uid|uuid|key|row|number|num|width|height|size|path|file|filename|name|url|uri|split|fold|"
    r"caption|captions|text|description|prompt|md5|sha\d*|hash|timestamp|date|time|seed|level_\d+__)$|^__|^unnamed",
    re.IGNORECASE,
)
UNLABELLED = -1
# Fewer rows say nothing on how often a value comes again.
ENOUGH_ROWS = 10


@dataclass(frozen=True)
class LabelChoice:
    """A column of labels, or the reason why there is none.

    Attributes:
        column: its name; empty where there is none.
        by_type: whether nothing but its type spoke for it.
        problem: empty where there is one.
    """

    column: str = ""
    by_type: bool = False
    problem: str = ""


def choose_label(schema: pa.Schema, types: Mapping[str, str | None], images: Sequence[str]) -> LabelChoice:
    """The column of labels: the one that the metadata types as classes, else by its name, else the only one that fits.

    Args:
        schema: of a file.
        types: what the metadata says of each column.
        images: columns that hold images.
    """
    columns = [field for field in schema if field.name not in images]
    typed = [field.name for field in columns if types.get(field.name) == "ClassLabel" and holds_labels(field.type)]
    named = _named(columns)
    if len(typed) > 1 and len(set(typed) & set(named)) == 1 and len(named) == 1:
        typed = named
    candidates = typed or named
    if typed and named and not set(named) & set(typed) and named[0].lower() in NAMES[0]:
        candidates = [*typed, *named]  # its name speaks for one, its type for another
    if len(candidates) == 1:
        (field,) = (field for field in columns if field.name == candidates[0])
        return LabelChoice(field.name) if holds_labels(field.type) else LabelChoice(problem=why_not(field))
    if candidates:
        return LabelChoice(problem=_several(candidates))
    fitting = [field.name for field in columns if holds_labels(field.type) and not OTHERS.search(field.name)]
    if len(fitting) == 1:
        return LabelChoice(fitting[0], by_type=True)
    return LabelChoice(problem=_several(fitting))


def _several(candidates: Sequence[str]) -> str:
    names = f" ({', '.join(candidates)})" if candidates else ""
    return f"{len(candidates) or 'no'} columns could be the label column{names}; say which with 'label'"


def _named(columns: Sequence[pa.Field]) -> list[str]:
    """The columns that the plainest names are for, whatever their type."""
    for names in NAMES:
        if found := [field.name for field in columns if field.name.lower() in names]:
            return found
    return []


def holds_labels(kind: pa.DataType) -> bool:
    """True for numbers, truth values and text, and for dictionaries of them."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, is_text)
    return any(test(kind) for test in tests)


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()


def why_not(field: pa.Field) -> str:
    """The reason why a column's values are no labels."""
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        reason = "holds lists, several labels an image, and here an image has one class"
    else:
        reason = f"holds {kind}, which is no label"
    return f"the column '{field.name}' {reason}; say with 'label' which column has one class an image"


@dataclass(frozen=True)
class LabelValues:
    """The values of a label column over the files of a split.

    Attributes:
        values: [N], whole numbers or text.
        location: of each file's first row, for errors: its path and that row's number.
    """

    column: str
    values: pa.ChunkedArray
    files: tuple[str, ...]
    starts: tuple[int, ...]

    def location(self, row: int) -> str:
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.files[index]}, row {row - self.starts[index]}"

    def distinct(self) -> list[int] | list[str]:
        """Each value once, sorted; text that is numbers by their value."""
        values = self.values.unique().to_pylist()
        return class_order(values) if all(isinstance(value, str) for value in values) else sorted(values)


def read_label_values(files: Sequence[str], column: str) -> LabelValues:
    """The values of all rows.

    Raises:
        DataError: a file cannot be read, or a row has no label, or one that is neither whole number nor text.
    """
    parts, starts = [], [0]
    for file in files:
        try:
            values = pq.ParquetFile(file).read(columns=[column]).column(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"huggingface: cannot read the labels of {file} ({one_line(error)})") from error
        parts.append(_plain(values, column, file))
        starts.append(starts[-1] + len(values))
    kinds = {part.type for part in parts}
    if len(kinds) > 1:
        raise DataError(f"huggingface: the column '{column}' holds numbers in one file of a split and text in another")
    chunks = [chunk for part in parts for chunk in part.chunks]
    return LabelValues(column, pa.chunked_array(chunks, type=parts[0].type), tuple(files), tuple(starts))


def _plain(values: pa.ChunkedArray, column: str, file: str) -> pa.ChunkedArray:
    """The same as int64 or text."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    if values.null_count:
        _refuse_rows(pc.is_null(values), "is empty", column, file)
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    if is_text(kind):
        text = values.cast(pa.string())
        _refuse_rows(pc.equal(pc.utf8_trim_whitespace(text), ""), "is empty", column, file)
        return text
    try:
        numbers = values.cast(pa.int64())
    except pa.ArrowInvalid:
        listed = values.to_pylist()
        wrong = next((x for x in listed if not math.isfinite(x) or x != int(x) or abs(x) >= 2**63), None)
        raise DataError(
            f"huggingface: the column '{column}' of {file} holds {wrong}; a label is a whole number or text"
        ) from None
    _refuse_rows(pc.equal(numbers, UNLABELLED), f"is {UNLABELLED}, which means unlabelled", column, file)
    return numbers


def _refuse_rows(wrong: pa.ChunkedArray, problem: str, column: str, file: str) -> None:
    rows = np.flatnonzero(np.asarray(wrong.to_numpy()))
    if len(rows):
        count = f" (and {len(rows) - 1} more of {len(wrong)} rows)" if len(rows) > 1 else ""
        raise DataError(f"huggingface: {file}, row {rows[0]}: the column '{column}' {problem}{count}; remove such rows")


@dataclass(frozen=True)
class ParquetClasses:
    """The classes of a data set.

    Attributes:
        names: by number.
        values: the label of each in the files.
    """

    names: tuple[str, ...]
    values: list[int] | list[str]

    def numbers(self, labels: LabelValues, split: str) -> np.ndarray:
        """The class of each row [N], int64.

        Raises:
            DataError: a label that the training split does not have, or a class without training images.
        """
        if labels.values.type == pa.int64() and self.values == list(range(len(self.names))):
            return check_labels("huggingface", labels.values.to_numpy(), self.names, split)
        kind = pa.int64() if isinstance(self.values[0], int) else pa.string()
        if kind != labels.values.type:
            wrong = np.zeros(1, dtype=np.int64)
        else:
            indices = pc.index_in(labels.values, value_set=pa.array(self.values, kind))
            wrong = np.flatnonzero(indices.is_null().to_numpy())
        if len(wrong):
            row, label = int(wrong[0]), labels.values[int(wrong[0])].as_py()
            known = ", ".join(map(str, self.values[:8])) + (", ..." if len(self.values) > 8 else "")
            raise DataError(
                f"huggingface: {labels.location(row)}: the label {label!r} is none of the training split's ({known}), "
                "which are the classes"
            )
        return check_labels("huggingface", indices.to_numpy(), self.names, split)


def classes_of(train: LabelValues, names: tuple[str, ...] | None, by_type: bool) -> ParquetClasses:
    """The classes by their names in the files, else the distinct labels of the training split, sorted.

    Raises:
        DataError: the column was chosen by its type alone, and its values do not come again as labels do.
    """
    if names is not None:
        return ParquetClasses(names, list(names) if train.values.type == pa.string() else list(range(len(names))))
    values = train.distinct()
    if not values:
        raise DataError("huggingface: the train split holds no image")
    if by_type and len(train.values) >= ENOUGH_ROWS and 2 * len(values) > len(train.values):
        raise DataError(
            f"huggingface: the column '{train.column}' has {len(values)} values in {len(train.values)} training rows, "
            "too many for a label column; say which column it is with 'label'"
        )
    return ParquetClasses(tuple(map(str, values)), values)


def label_note(classes: ParquetClasses, column: str, named_in_files: bool, by_type: bool) -> str:
    """A note on the choice; empty where labels are the numbers of classes as they are."""
    if named_in_files or (classes.values == list(range(len(classes.names))) and not by_type):
        return ""
    shown = ", ".join(classes.names[:8]) + (", ..." if len(classes.names) > 8 else "")
    why = ", the only column whose type fits" if by_type else ""
    return f"the classes are the {len(classes.names)} values of the column '{column}'{why}, sorted: {shown}"
