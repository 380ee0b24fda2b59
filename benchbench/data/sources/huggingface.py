"""Parquet files in Hugging Face's layout: a column struct<bytes, path> of encoded images and a column of labels.

The files come from a folder or from the hub. pyarrow and NumPy are imported when sizes or images are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import ArrayImages, check_labels
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    from benchbench.data.sources.parquet_columns import Columns
    from benchbench.data.sources.parquet_images import ParquetRows

SHARD = re.compile(r"-(\d+)-of-(\d+)\.parquet$")


class HuggingFaceParams(DatasetParams):
    """Parquet files in Hugging Face's layout; exactly one of `path` and `repo`.

    Attributes:
        path: a folder, searched with its subfolders for `{split}-*.parquet` and `{split}.parquet`.
        repo: a data set of the hub, as owner/name; its parquet files are downloaded to the data folder once.
        revision: branch, tag or commit of the hub data set; a commit keeps a suite's data fixed.
        folder: the subfolder to read, where a data set comes in several configurations.
        image: the column of images; found by its type where there is only one.
        label: the column of labels; found by its type where there is only one.
        train_split: the split that trains.
        test_split: the split that tests.
    """

    path: Path | None = None
    repo: str | None = None
    revision: str | None = None
    folder: str | None = None
    image: str | None = None
    label: str | None = None
    train_split: str = "train"
    test_split: str = "test"

    @model_validator(mode="after")
    def _one_source(self) -> HuggingFaceParams:
        if (self.path is None) == (self.repo is None):
            raise ValueError("give exactly one of 'path' (a folder of parquet files) and 'repo' (a hub data set)")
        if self.path is not None and self.revision is not None:
            raise ValueError("'revision' belongs to a hub data set; a 'path' has none")
        return self

    def info(self, root: Path) -> DataInfo:
        return sizes(self, root)


def sizes(params: HuggingFaceParams, root: Path) -> DataInfo:
    """Counts from the files' footers, and from the label column where the classes have no names.

    A hub data set is downloaded first: its sizes stand in its files.

    Raises:
        DataError: as `load`.
    """
    from benchbench.data.sources.parquet_columns import find_columns

    train, test = _locate(params, root)
    columns = find_columns([*train.files, *test.files], params.image, params.label)
    return DataInfo(len(_class_names(columns, train)), train.starts[-1], test.starts[-1])


def load(params: HuggingFaceParams, root: Path, split: str) -> ImageDataset:
    """One split, in the order of its files and rows; as an array where all images have one size and fit in a GiB.

    Other sets are kept encoded, in one copy under `root` that all loader processes share through the page cache.

    Raises:
        DataError: the files are absent or incomplete, the columns are ambiguous, a label is missing or out of range.
    """
    from benchbench.data.sources.parquet_columns import find_columns, read_labels
    from benchbench.data.sources.parquet_images import EncodedImages, decode_all, mapped_copy

    train, test = _locate(params, root)
    columns = find_columns([*train.files, *test.files], params.image, params.label)
    classes = _class_names(columns, train)
    rows = train if split == "train" else test
    labels = check_labels("huggingface", read_labels(rows.files, columns.label), classes, split)
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


def _class_names(columns: Columns, train: ParquetRows) -> tuple[str, ...]:
    """Class names by number; without names in the files, the numbers up to the highest training label."""
    if columns.names is not None:
        return columns.names
    from benchbench.data.sources.parquet_columns import read_labels

    labels = read_labels(train.files, columns.label)
    return tuple(map(str, range(int(labels.max(initial=-1)) + 1)))
