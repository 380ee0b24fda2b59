"""Parquet files in Hugging Face's layout: a column struct<bytes, path> of encoded images and a column of labels.

The files come from a folder or from the hub. pyarrow and NumPy are imported when sizes or images are asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.common import ArrayImages
from benchbench.data.sources.own_images import OwnImagesParams, Range, survey
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np

    from benchbench.data.sources.parquet_columns import Columns
    from benchbench.data.sources.parquet_images import ParquetRows
    from benchbench.data.sources.parquet_labels import ParquetClasses

SHARD = re.compile(r"-(\d+)-of-(\d+)\.parquet$")
SAMPLE = 64  # images whose headers `plan` looks at: the first ones


class HuggingFaceParams(OwnImagesParams):
    """Parquet files in Hugging Face's layout; exactly one of `path` and `repo`.

    Attributes:
        path: a folder, searched with its subfolders for `{split}-*.parquet` and `{split}.parquet`.
        repo: a data set of the hub, as owner/name; its parquet files are downloaded to the data folder once.
        revision: branch, tag or commit of the hub data set; a commit keeps a suite's data fixed.
        folder: the subfolder to read, where a data set comes in several configurations.
        image: the column of images; found by its type where there is only one.
        label: the column of labels: whole numbers, truth values or text; found by the metadata's ClassLabel, else by
            its name (`label`, `class`, `target`, ...), else by its type where one alone fits and is no identifier.
        train_split: the split that trains.
        test_split: the split that tests.
        exif: `ignore` takes pixels as they are stored; by default an image is turned as its EXIF orientation says, as
            Hugging Face's datasets library does.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; by default all of 16 bits, and of 32
            bits the smallest of 0..1, 0..255 and 0..65535 that holds an image.
    """

    path: Path | None = None
    repo: str | None = None
    revision: str | None = None
    folder: str | None = None
    image: str | None = None
    label: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    exif: Literal["ignore", "apply"] = "apply"
    pixel_range: Range | None = None

    @model_validator(mode="after")
    def _one_source(self) -> HuggingFaceParams:
        if (self.path is None) == (self.repo is None):
            raise ValueError("give exactly one of 'path' (a folder of parquet files) and 'repo' (a hub data set)")
        if self.path is not None and self.revision is not None:
            raise ValueError("'revision' belongs to a hub data set; a 'path' has none")
        return self

    def info(self, root: Path) -> DataInfo:
        return sizes(self, root)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path] | None:
        if self.path is None:
            return None
        rows = _locate(self, root)[split != "train"]
        return {Path(file).name: Path(file) for file in rows.files}


def sizes(params: HuggingFaceParams, root: Path) -> DataInfo:
    """Counts from the files' footers, and the labels of both splits, checked.

    A hub data set is downloaded first: its sizes stand in its files.

    Raises:
        DataError: as `load`.
    """
    from benchbench.data.sources.parquet_images import first_images
    from benchbench.data.sources.parquet_labels import label_note

    train, test = _locate(params, root)
    columns, classes = _classes(params, train, test)
    for split, rows in (("train", train), ("test", test)):
        _class_numbers(columns, classes, rows, split)
    notes = [label_note(classes, columns.label, columns.names is not None, columns.by_type)]
    encoded = first_images(train, columns.image, SAMPLE)
    if encoded and not any(encoded):
        raise DataError(
            f"huggingface: the column '{columns.image}' of {train.files[0]} holds no bytes of images; write the files' "
            "bytes into it, or take `imagefolder`"
        )
    samples = [partial(BytesIO, value or b"") for value in encoded]
    notes += survey(samples, train.starts[-1], params.reading)
    note = "; ".join(filter(None, notes))
    return DataInfo(len(classes.names), train.starts[-1], test.starts[-1], note, tuple(map(str, classes.names)))


def load(params: HuggingFaceParams, root: Path, split: str) -> ImageDataset:
    """One split, in the order of its files and rows; as an array where all images have one size and fit in a GiB.

    The files name the classes, or else they are the distinct labels of the training split, sorted. Other sets than
    small ones are kept encoded, in one copy under `root` that all loader processes share through the page cache.

    Raises:
        DataError: the files are absent or incomplete, the columns are ambiguous, or a label is missing, -1 (which means
            unlabelled), out of range or unknown to the training split.
    """
    from benchbench.data.sources.parquet_images import EncodedImages, decode_all, mapped_copy

    train, test = _locate(params, root)
    columns, classes = _classes(params, train, test)
    rows = train if split == "train" else test
    labels = _class_numbers(columns, classes, rows, split)
    array = decode_all(rows, columns.image, params.reading)
    if array is not None:
        return ImageDataset(labels, classes.names, ArrayImages(array), array)
    copy = mapped_copy(rows, columns.image, root / "huggingface")
    version = "" if params.repo is None else _version(rows)
    return ImageDataset(labels, classes.names, EncodedImages(rows, copy, params.reading), version=version)


def _version(rows: ParquetRows) -> str:
    """Of downloaded files: the hub's cache holds each as a link to one that is named by its content."""
    files = [(Path(file).name, Path(file).resolve().name, Path(file).stat().st_size) for file in rows.files]
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _classes(params: HuggingFaceParams, train: ParquetRows, test: ParquetRows) -> tuple[Columns, ParquetClasses]:
    from benchbench.data.sources.parquet_columns import find_columns
    from benchbench.data.sources.parquet_labels import classes_of, read_label_values

    columns = find_columns([*train.files, *test.files], params.image, params.label)
    return columns, classes_of(read_label_values(train.files, columns.label), columns.names, columns.by_type)


def _class_numbers(columns: Columns, classes: ParquetClasses, rows: ParquetRows, split: str) -> np.ndarray:
    from benchbench.data.sources.parquet_labels import read_label_values

    return classes.numbers(read_label_values(rows.files, columns.label), split)


def _locate(params: HuggingFaceParams, root: Path) -> tuple[ParquetRows, ParquetRows]:
    """The files of the training and of the test split."""
    _check_apart(params)
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


def _check_apart(params: HuggingFaceParams) -> None:
    """Raises DataError where a file of one split is one of the other too."""
    train, test = f"{params.train_split}-", f"{params.test_split}-"
    if train.startswith(test) or test.startswith(train):
        raise DataError(
            f"huggingface: the parts are to differ: files of the split '{max(train, test, key=len)[:-1]}' are both to "
            "train and to test on; name another with `train_split` or `test_split`"
        )


def _in_folder(params: HuggingFaceParams, folder: Path) -> tuple[ParquetRows, ParquetRows]:
    folder = folder / params.folder if params.folder else folder
    if not folder.is_dir():
        raise DataError(f"huggingface: {folder} is not a folder")
    files = sorted(folder.rglob("*.parquet"))
    return _of_split(files, folder, params.train_split), _of_split(files, folder, params.test_split)


def _of_split(every: Sequence[Path], folder: Path, split: str) -> ParquetRows:
    from benchbench.data.sources.parquet_columns import count_rows
    from benchbench.data.sources.parquet_images import ParquetRows

    files = [file for file in every if file.name.startswith(f"{split}-") or file.stem == split]
    if not files:
        others = ", ".join(sorted({file.name for file in every})[:6]) or "no parquet file at all"
        raise DataError(f"huggingface: {folder} holds no {split}-*.parquet for the split '{split}'; found: {others}")
    folders = sorted({str(file.parent.relative_to(folder)) for file in files})
    if len(folders) > 1:
        raise DataError(
            f"huggingface: files of the split '{split}' lie in several folders of {folder} ({', '.join(folders[:6])}); "
            "say which with 'folder'"
        )
    _check_shards(files, folder, split)
    starts = [0]
    for file in files:
        starts.append(starts[-1] + count_rows(file))
    return ParquetRows(tuple(map(str, files)), tuple(starts))


def _check_shards(files: Sequence[Path], folder: Path, split: str) -> None:
    """Raises DataError where files are numbered ("-00001-of-00004") and one of them is absent."""
    shards = [SHARD.search(file.name) for file in files]
    present = {(int(shard[1]), int(shard[2])) for shard in shards if shard}
    expected = {(index, count) for _, count in present for index in range(count)}
    if present != expected:
        index, count = min(expected - present, default=min(present))
        raise DataError(
            f"huggingface: the split '{split}' in {folder} is incomplete: file {index} of {count} (counted from 0) is "
            "not there; download it again"
        )
