"""Parquet files in Hugging Face's layout: a column struct<bytes, path> of encoded images and a column of labels.

The files come from a folder or from the hub. Class names are in the schema's metadata, under the key `huggingface`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.common import ArrayImages, check_labels
from benchbench.data.sources.params import HuggingFaceParams
from benchbench.data.sources.parquet_images import EncodedImages, ParquetRows, decode_all, mapped_copy
from benchbench.errors import DataError, one_line

SHARD = re.compile(r"-(\d+)-of-(\d+)\.parquet$")


@dataclass(frozen=True)
class _Columns:
    """Which columns to read; `names` is None where the files do not name their classes."""

    image: str
    label: str
    names: tuple[str, ...] | None


def sizes(params: HuggingFaceParams, root: Path) -> DataInfo:
    """Counts from the files' footers, and from the label column where the classes have no names.

    A hub data set is downloaded first: its sizes stand in its files.

    Raises:
        DataError: as `load`.
    """
    train, test = _locate(params, root)
    columns = _columns(params, [*train.files, *test.files])
    return DataInfo(len(_classes(columns, train)), train.starts[-1], test.starts[-1])


def load(params: HuggingFaceParams, root: Path, split: str) -> ImageDataset:
    """One split, in the order of its files and rows; as an array where all images have one size and fit in a GiB.

    Other sets are kept encoded, in one copy under `root` that all loader processes share through the page cache.

    Raises:
        DataError: the files are absent or incomplete, the columns are ambiguous, a label is missing or out of range.
    """
    train, test = _locate(params, root)
    columns = _columns(params, [*train.files, *test.files])
    classes = _classes(columns, train)
    rows = train if split == "train" else test
    labels = check_labels("huggingface", _labels(rows, columns.label), classes, split)
    array = decode_all(rows, columns.image)
    if array is not None:
        return ImageDataset(labels, classes, ArrayImages(array), array)
    return ImageDataset(labels, classes, EncodedImages(rows, mapped_copy(rows, columns.image, root / "huggingface")))


def _locate(params: HuggingFaceParams, root: Path) -> tuple[ParquetRows, ParquetRows]:
    """The files of the training and of the test split."""
    if params.path is not None:
        return _in_folder(params, params.path)
    from huggingface_hub import snapshot_download

    def snapshot(local_files_only: bool) -> Path:
        inside = f"{params.folder}/*" if params.folder else "*"
        splits = (params.train_split, params.test_split)
        return Path(
            snapshot_download(
                params.repo or "",
                repo_type="dataset",
                revision=params.revision,
                cache_dir=root / "huggingface",
                allow_patterns=[f"{inside}{split}{end}" for split in splits for end in ("-*.parquet", ".parquet")],
                local_files_only=local_files_only,
            )
        )

    # What is there is used as it is, without asking the hub: a run must not change its data half-way.
    with suppress(Exception):
        return _in_folder(params, snapshot(local_files_only=True))
    try:
        folder = snapshot(local_files_only=False)
    except Exception as error:  # the hub's own errors, its HTTP library's and the disk's
        raise DataError(
            f"huggingface: the data set '{params.repo}' cannot be downloaded ({one_line(error)}); run where there is a "
            "network, or give a folder with its parquet files as 'path'"
        ) from error
    return _in_folder(params, folder)


def _in_folder(params: HuggingFaceParams, folder: Path) -> tuple[ParquetRows, ParquetRows]:
    place = folder / params.folder if params.folder else folder
    if not place.is_dir():
        raise DataError(f"huggingface: {place} is not a folder")
    every = sorted(place.rglob("*.parquet"))
    return _of_split(every, place, params.train_split), _of_split(every, place, params.test_split)


def _of_split(every: Sequence[Path], place: Path, split: str) -> ParquetRows:
    files = [file for file in every if file.name.startswith(f"{split}-") or file.stem == split]
    if not files:
        found = ", ".join(sorted({file.name for file in every})[:6]) or "no parquet file at all"
        raise DataError(f"huggingface: {place} holds no {split}-*.parquet for the split '{split}'; found: {found}")
    folders = sorted({str(file.parent.relative_to(place)) for file in files})
    if len(folders) > 1:
        raise DataError(
            f"huggingface: files of the split '{split}' lie in several folders of {place} ({', '.join(folders[:6])}); "
            "say which with 'folder'"
        )
    shards = [SHARD.search(file.name) for file in files]
    numbered = {(int(shard[1]), int(shard[2])) for shard in shards if shard}
    expected = {(number, of) for _, of in numbered for number in range(of)}
    if numbered != expected:
        number, of = min(expected - numbered, default=min(numbered))
        raise DataError(
            f"huggingface: the split '{split}' in {place} is incomplete: file {number} of {of} (counted from 0) is "
            "not there; download it again"
        )
    starts = [0]
    for file in files:
        starts.append(starts[-1] + _footer(file).metadata.num_rows)
    return ParquetRows(tuple(map(str, files)), tuple(starts))


def _footer(file: Path | str) -> Any:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"huggingface: cannot read {file} ({one_line(error)})") from error


def _columns(params: HuggingFaceParams, files: Sequence[str]) -> _Columns:
    """Columns and class names, the same in every file.

    Raises:
        DataError: a column is absent, of the wrong type, or one of several that could be meant.
    """
    found = {file: _columns_of(params, file) for file in files}
    first = found[files[0]]
    for file, columns in found.items():
        if columns != first:
            raise DataError(f"huggingface: {file} has other columns or class names than {files[0]}")
    return first


def _columns_of(params: HuggingFaceParams, file: str) -> _Columns:
    schema = _footer(file).schema_arrow
    features = _features(schema, file)

    def kind(name: str) -> str | None:
        feature = features.get(name)
        return feature.get("_type") if isinstance(feature, dict) else None

    def pick(what: str, given: str | None, readable: Callable[[pa.DataType], bool], typed: str) -> str:
        """The column that is given, else the only one that the metadata types so, else the only one that can be it."""
        if given is not None and given in schema.names and readable(schema.field(given).type):
            return given
        fitting = [field.name for field in schema if readable(field.type)]
        named = [name for name in fitting if kind(name) == typed]
        choice = named or fitting
        if given is None and len(choice) == 1:
            return choice[0]
        every = ", ".join(f"{field.name} ({kind(field.name) or field.type})" for field in schema)
        if given is not None:
            problem = f"column '{given}' cannot be the {what} column"
        else:
            problem = f"{len(choice) or 'no'} columns could be the {what} column; say which with '{what}'"
        raise DataError(f"huggingface: {problem}; columns of {file}: {every}")

    image = pick("image", params.image, _holds_images, "Image")
    label = pick("label", params.label, pa.types.is_integer, "ClassLabel")
    names = features[label].get("names") if kind(label) == "ClassLabel" else None
    return _Columns(image, label, tuple(map(str, names)) if names else None)


def _features(schema: pa.Schema, file: str) -> dict[str, Any]:
    """What the schema's metadata says of the columns; empty where another program wrote the file."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
        return dict(features)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"huggingface: the metadata of {file} is broken ({one_line(error)})") from error


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _classes(columns: _Columns, train: ParquetRows) -> tuple[str, ...]:
    """Class names by number; without names in the files, the numbers up to the highest training label."""
    if columns.names is not None:
        return columns.names
    labels = _labels(train, columns.label)
    return tuple(map(str, range(int(labels.max(initial=-1)) + 1)))


def _labels(rows: ParquetRows, label: str) -> np.ndarray:
    parts = []
    for file in rows.files:
        try:
            column = pq.ParquetFile(file).read(columns=[label]).column(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"huggingface: cannot read the labels of {file} ({one_line(error)})") from error
        if column.null_count:
            row = column.is_null().to_numpy().argmax()
            raise DataError(f"huggingface: {file}, row {row}: the column '{label}' is empty")
        parts.append(column.to_numpy().astype(np.int64))
    return np.concatenate(parts)
