"""Data sets that torchvision downloads and lists: CIFAR-10, CIFAR-100, DTD, Caltech-101, Flowers-102, Oxford-IIIT Pet.

torchvision's classes do the download, the checksums and the parsing. What is added: one error that says what to do, one
download at a time, sizes checked against the official ones, and images that are decoded only when asked for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock
from torchvision.datasets import CIFAR10, CIFAR100, DTD, Caltech101, Flowers102, OxfordIIITPet

from benchbench.data.images import ImageDataset
from benchbench.data.info import DatasetParams
from benchbench.data.sources.common import ArrayImages, FileImages, check_files, check_labels
from benchbench.data.sources.params import (
    Caltech101Params,
    Cifar10Params,
    Cifar100Params,
    DtdParams,
    Flowers102Params,
    PetsParams,
)
from benchbench.errors import DataError, one_line

T = TypeVar("T")
STALLED_SECONDS = 60.0
SPLIT_SEED = 0


def cifar10(params: Cifar10Params, root: Path, split: str) -> ImageDataset:
    """CIFAR-10 as one array [N, 32, 32, 3]; downloaded to `root` where it is not there.

    Raises:
        DataError: it cannot be downloaded, or what is there is not the published set.
    """
    return _cifar("cifar10", CIFAR10, params, root, split)


def cifar100(params: Cifar100Params, root: Path, split: str) -> ImageDataset:
    """CIFAR-100 with its fine labels; otherwise as `cifar10`."""
    return _cifar("cifar100", CIFAR100, params, root, split)


def _cifar(name: str, build: type[CIFAR10], params: DatasetParams, root: Path, split: str) -> ImageDataset:
    files = f"{build.filename}, or its unpacked folder {build.base_folder},"
    data = _downloaded(name, root, root, files, lambda: build(root, train=split == "train", download=True))
    labels = _checked(name, params, root, root / build.base_folder, split, data.targets, data.classes)
    array = np.ascontiguousarray(data.data)  # torchvision keeps a transposed view
    return ImageDataset(labels, tuple(data.classes), ArrayImages(array), array)


def dtd(params: DtdParams, root: Path, split: str) -> ImageDataset:
    """DTD; the official train and val lists of the partition together are the training split.

    Raises:
        DataError: as `cifar10`.
    """
    files = "dtd-r1.0.1.tar.gz, or its unpacked folder dtd,"

    def build() -> list[DTD]:
        lists = ("train", "val") if split == "train" else ("test",)
        return [DTD(root, each, params.partition, download=True) for each in lists]

    parts = _downloaded("dtd", root, root / "dtd", files, build)
    # Labels are by class name: torchvision numbers the classes of each list by itself.
    classes = sorted({each for part in parts for each in part.classes})
    labels = [classes.index(part.classes[label]) for part in parts for label in part._labels]
    images = [str(file) for part in parts for file in part._image_files]
    return _file_set("dtd", params, root, root / "dtd", split, labels, classes, images)


def flowers102(params: Flowers102Params, root: Path, split: str) -> ImageDataset:
    """Flowers-102; the official train and val lists together are the training split.

    Raises:
        DataError: as `cifar10`.
    """
    files = "102flowers.tgz (or its unpacked folder jpg), imagelabels.mat and setid.mat"
    folder = root / "flowers-102"
    official = ("train", "val") if split == "train" else ("test",)
    parts = [
        _downloaded("flowers102", root, folder, files, partial(Flowers102, root, part, download=True))
        for part in official
    ]
    labels = [label for part in parts for label in part._labels]
    images = [str(file) for part in parts for file in part._image_files]
    # Before torchvision had the names, the classes were known by number alone.
    classes = getattr(Flowers102, "classes", None) or [str(number) for number in range(1, 103)]
    return _file_set("flowers102", params, root, folder, split, labels, classes, images)


def pets(params: PetsParams, root: Path, split: str) -> ImageDataset:
    """Oxford-IIIT Pet, labelled by breed.

    Raises:
        DataError: as `cifar10`.
    """
    folder = root / "oxford-iiit-pet"
    files = "images.tar.gz and annotations.tar.gz, or their unpacked folders images and annotations,"
    official = "trainval" if split == "train" else "test"
    data = _downloaded("pets", root, folder, files, lambda: OxfordIIITPet(root, official, download=True))
    return _file_set("pets", params, root, folder, split, data._labels, data.classes, [str(f) for f in data._images])


def caltech101(params: Caltech101Params, root: Path, split: str) -> ImageDataset:
    """Caltech-101 without its background class; 80 % of each class trains, drawn at random with a fixed seed.

    Caltech-101 has no official split. It is not cut by file order: files of a class come in runs (all pictures of one
    person, of one photographer, of one search), so that the last fifth would be runs of which training saw nothing,
    and the test would measure the order of the files. The draw is the same in every run.

    Raises:
        DataError: as `cifar10`.
    """
    folder = root / "caltech101"
    files = "caltech-101.zip, or the folder 101_ObjectCategories that is in it,"
    data = _downloaded("caltech101", root, folder, files, lambda: Caltech101(root, download=True))
    chosen = stratified_split(np.asarray(data.y, dtype=np.int64), len(data.categories), SPLIT_SEED)
    places = np.flatnonzero(chosen if split == "train" else ~chosen)
    images_folder = folder / "101_ObjectCategories"
    images = [str(images_folder / data.categories[data.y[i]] / f"image_{data.index[i]:04d}.jpg") for i in places]
    labels = [data.y[i] for i in places]
    return _file_set("caltech101", params, root, folder, split, labels, data.categories, images)


def stratified_split(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Which of N images train: four fifths of all, and of each class as near to it as whole images allow.

    The total is four fifths of N to the nearest image: each class first takes its share rounded down, and what is
    missing goes one by one to the classes that lost most to rounding (largest remainder; ties by class number).

    Args:
        labels: class numbers [N].
        seed: of NumPy's legacy generator, whose stream is frozen, so that the split outlives NumPy versions.

    Returns:
        Booleans [N].
    """
    counts = np.bincount(labels, minlength=classes)
    take = 4 * counts // 5
    missing = (4 * len(labels) + 2) // 5 - take.sum()
    take[np.argsort(-(4 * counts % 5), kind="stable")[:missing]] += 1
    draw = np.random.RandomState(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for number in range(classes):
        chosen[draw.permutation(np.flatnonzero(labels == number))[: take[number]]] = True
    return chosen


def _file_set(
    name: str,
    params: DatasetParams,
    root: Path,
    folder: Path,
    split: str,
    labels: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    images: Sequence[str],
) -> ImageDataset:
    """An image set of files, after all checks."""
    checked = _checked(name, params, root, folder, split, labels, classes)
    # torchvision takes a folder that is there for a finished download; a cut-off one shows here.
    check_files(name, images, f"the download was cut short: delete {folder} and run again")
    return ImageDataset(checked, tuple(classes), FileImages(tuple(images)))


def _checked(
    name: str,
    params: DatasetParams,
    root: Path,
    folder: Path,
    split: str,
    labels: Sequence[int] | np.ndarray,
    classes: Sequence[str],
) -> np.ndarray:
    """Labels [N] as int64, once their number is the official one; plans and costs were made with that."""
    info = params.info(root)
    expected = info.train if split == "train" else info.test
    if (len(labels), len(classes)) != (expected, info.classes):
        raise DataError(
            f"{name}: the {split} split in {folder} has {len(labels)} images of {len(classes)} classes, not {expected} "
            f"of {info.classes}; the files were changed or the download was cut short: delete them and run again"
        )
    return check_labels(name, labels, list(classes), split)


def _downloaded(name: str, root: Path, folder: Path, files: str, build: Callable[[], T]) -> T:
    """What `build` returns, which may download.

    Args:
        folder: where the files belong.
        files: what belongs there, for the error.

    Raises:
        DataError: whatever went wrong, as one line that says what to put where.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(root, name), _no_endless_wait():
            return build()
    except Exception as error:  # network, archive, disk and parser errors alike: the way out is the same
        raise DataError(
            f"{name}: cannot be downloaded or read ({one_line(error)}); put {files} into {folder} in place of what is "
            "there, or run where there is a network"
        ) from error


@contextmanager
def _one_at_a_time(root: Path, name: str) -> Iterator[None]:
    """Keeps workers that start together from writing one download twice. A read-only folder needs no such care."""
    if not os.access(root, os.W_OK):
        yield
        return
    with FileLock(root / f".{name}.lock"):
        yield


@contextmanager
def _no_endless_wait() -> Iterator[None]:
    """torchvision sets no time limit on its connections; a server that falls silent would hold a stage for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
