"""Data sets that torchvision downloads and lists: CIFAR-10, CIFAR-100, DTD, Caltech-101, Flowers-102, Oxford-IIIT Pet.

torchvision's classes do the download, the checksums and the parsing. Added are one error that says what to do, one
download at a time, sizes checked against the official ones, and images that are decoded only when asked for.
torchvision is imported when a set is loaded.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import ArrayImages, FileImages, check_files, check_labels
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np
    from torchvision.datasets import CIFAR10

T = TypeVar("T")
STALLED_SECONDS = 60.0
SPLIT_SEED = 0


class Cifar10Params(DatasetParams):
    """CIFAR-10 (Krizhevsky 2009), official split."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=10, train=50000, test=10000)


class Cifar100Params(DatasetParams):
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine labels, official split."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=100, train=50000, test=10000)


class DtdParams(DatasetParams):
    """DTD (Cimpoi et al. 2014): the official train and val lists train, the test list tests.

    Attributes:
        partition: one of the ten official partitions; most papers use the first.
    """

    partition: int = Field(default=1, ge=1, le=10)

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=47, train=3760, test=1880)


class Caltech101Params(DatasetParams):
    """Caltech-101 (Fei-Fei et al. 2004) without its background class: 8,677 images, 80 % of which train."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=101, train=6942, test=1735)


class Flowers102Params(DatasetParams):
    """Flowers-102 (Nilsback and Zisserman 2008): train and val lists train (20 images a class), the test list tests."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=102, train=2040, test=6149)


class PetsParams(DatasetParams):
    """Oxford-IIIT Pet (Parkhi et al. 2012) by breed: the official trainval list trains, the test list tests."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=37, train=3680, test=3669)


@dataclass(frozen=True)
class _Listing:
    """One split of a data set as torchvision lists it.

    Attributes:
        name: of the data set.
        folder: of its files.
        labels: class numbers [N].
        classes: class names.
    """

    name: str
    split: str
    folder: Path
    labels: Sequence[int] | np.ndarray
    classes: Sequence[str]

    def checked_labels(self, info: DataInfo) -> np.ndarray:
        """Labels [N] as int64, once their number is the official one; plans and costs were made with that."""
        expected = info.train if self.split == "train" else info.test
        if (len(self.labels), len(self.classes)) != (expected, info.classes):
            raise DataError(
                f"{self.name}: the {self.split} split in {self.folder} has {len(self.labels)} images of "
                f"{len(self.classes)} classes, not {expected} of {info.classes}; the files were changed or the "
                "download was cut short: delete them and run again"
            )
        return check_labels(self.name, self.labels, list(self.classes), self.split)

    def file_set(self, info: DataInfo, images: Sequence[str]) -> ImageDataset:
        """The split as images in files, after all checks."""
        labels = self.checked_labels(info)
        # torchvision takes a folder that is there for a finished download; a cut-off one shows here.
        check_files(self.name, images, f"the download was cut short: delete {self.folder} and run again")
        return ImageDataset(labels, tuple(self.classes), FileImages(tuple(images)))


def cifar10(params: Cifar10Params, root: Path, split: str) -> ImageDataset:
    """CIFAR-10 as one array [N, 32, 32, 3]; downloaded to `root` where it is not there.

    Raises:
        DataError: it cannot be downloaded, or the files on disk are not the published set.
    """
    from torchvision.datasets import CIFAR10

    return _cifar("cifar10", CIFAR10, params, root, split)


def cifar100(params: Cifar100Params, root: Path, split: str) -> ImageDataset:
    """CIFAR-100 with its fine labels; otherwise as `cifar10`."""
    from torchvision.datasets import CIFAR100

    return _cifar("cifar100", CIFAR100, params, root, split)


def _cifar(name: str, build: type[CIFAR10], params: DatasetParams, root: Path, split: str) -> ImageDataset:
    import numpy as np

    files = f"{build.filename}, or its unpacked folder {build.base_folder},"
    data = downloaded(name, root, root, files, lambda: build(root, train=split == "train", download=True))
    listing = _Listing(name, split, root / build.base_folder, data.targets, data.classes)
    labels = listing.checked_labels(params.info(root))
    array = np.ascontiguousarray(data.data)  # torchvision keeps a transposed view
    return ImageDataset(labels, tuple(data.classes), ArrayImages(array), array)


def dtd(params: DtdParams, root: Path, split: str) -> ImageDataset:
    """DTD; the official train and val lists of the partition together are the training split.

    Raises:
        DataError: as `cifar10`.
    """
    from torchvision.datasets import DTD

    files = "dtd-r1.0.1.tar.gz, or its unpacked folder dtd,"

    def build() -> list[DTD]:
        lists = ("train", "val") if split == "train" else ("test",)
        return [DTD(root, each, params.partition, download=True) for each in lists]

    parts = downloaded("dtd", root, root / "dtd", files, build)
    # Labels are by class name: torchvision numbers the classes of each list by itself.
    classes = sorted({each for part in parts for each in part.classes})
    labels = [classes.index(part.classes[label]) for part in parts for label in part._labels]
    images = [str(file) for part in parts for file in part._image_files]
    return _Listing("dtd", split, root / "dtd", labels, classes).file_set(params.info(root), images)


def flowers102(params: Flowers102Params, root: Path, split: str) -> ImageDataset:
    """Flowers-102; the official train and val lists together are the training split.

    Raises:
        DataError: as `cifar10`.
    """
    from torchvision.datasets import Flowers102

    files = "102flowers.tgz (or its unpacked folder jpg), imagelabels.mat and setid.mat"
    folder = root / "flowers-102"
    official = ("train", "val") if split == "train" else ("test",)
    parts = [
        downloaded("flowers102", root, folder, files, partial(Flowers102, root, part, download=True))
        for part in official
    ]
    labels = [label for part in parts for label in part._labels]
    images = [str(file) for part in parts for file in part._image_files]
    # Before torchvision had the names, the classes were known by number alone.
    classes = getattr(Flowers102, "classes", None) or [str(number) for number in range(1, 103)]
    return _Listing("flowers102", split, folder, labels, classes).file_set(params.info(root), images)


def pets(params: PetsParams, root: Path, split: str) -> ImageDataset:
    """Oxford-IIIT Pet, labelled by breed.

    Raises:
        DataError: as `cifar10`.
    """
    from torchvision.datasets import OxfordIIITPet

    folder = root / "oxford-iiit-pet"
    files = "images.tar.gz and annotations.tar.gz, or their unpacked folders images and annotations,"
    official = "trainval" if split == "train" else "test"
    data = downloaded("pets", root, folder, files, lambda: OxfordIIITPet(root, official, download=True))
    listing = _Listing("pets", split, folder, data._labels, data.classes)
    return listing.file_set(params.info(root), [str(file) for file in data._images])


def caltech101(params: Caltech101Params, root: Path, split: str) -> ImageDataset:
    """Caltech-101 without its background class; 80 % of each class trains, drawn at random with a fixed seed.

    Caltech-101 has no official split. It is not cut by file order: files of a class come in runs (all pictures of one
    person, of one photographer, of one search), so that the last fifth would be runs of which training saw nothing,
    and the test would measure the order of the files. The draw is the same in every run.

    Raises:
        DataError: as `cifar10`.
    """
    import numpy as np
    from torchvision.datasets import Caltech101

    folder = root / "caltech101"
    files = "caltech-101.zip, or the folder 101_ObjectCategories that is in it,"
    data = downloaded("caltech101", root, folder, files, lambda: Caltech101(root, download=True))
    chosen = stratified_split(np.asarray(data.y, dtype=np.int64), len(data.categories), SPLIT_SEED)
    indices = np.flatnonzero(chosen if split == "train" else ~chosen)
    images_folder = folder / "101_ObjectCategories"
    images = [str(images_folder / data.categories[data.y[i]] / f"image_{data.index[i]:04d}.jpg") for i in indices]
    labels = [data.y[i] for i in indices]
    return _Listing("caltech101", split, folder, labels, data.categories).file_set(params.info(root), images)


def stratified_split(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Membership in the training split: four fifths of all images, and of each class as near to it as can be.

    The total is four fifths of N to the nearest image: each class first takes its share rounded down, and what is
    missing goes one by one to the classes that lost most to rounding (largest remainder; ties by class number).

    Args:
        labels: class numbers [N].
        seed: of NumPy's legacy generator, whose stream is frozen, so that the split outlives NumPy versions.

    Returns:
        Booleans [N].
    """
    import numpy as np

    counts = np.bincount(labels, minlength=classes)
    take = 4 * counts // 5
    missing = (4 * len(labels) + 2) // 5 - take.sum()
    take[np.argsort(-(4 * counts % 5), kind="stable")[:missing]] += 1
    draw = np.random.RandomState(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in range(classes):
        chosen[draw.permutation(np.flatnonzero(labels == label))[: take[label]]] = True
    return chosen


def downloaded(name: str, root: Path, folder: Path, files: str, build: Callable[[], T]) -> T:
    """The result of `build`, which may download.

    Args:
        name: of the data set.
        root: the folder of downloads.
        folder: where the files belong.
        files: the names that belong there, for the error.

    Raises:
        DataError: any failure, as one line that says what to put where.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Sets of the same files, as `pets` and `pets_segmentation`, wait for each other.
        with _one_at_a_time(root, name.partition("_")[0]), _no_endless_wait():
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
    path = root / f".{name}.lock"
    if not _has_locks(path):
        print(f"{root} is on a file system without locks: start several workers when {name} is there")
        yield
        return
    from filelock import FileLock

    with FileLock(path):
        yield


def _has_locks(path: Path) -> bool:
    """True where a file can be locked: `FileLock` would wait for ever, or raise, where no file can."""
    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
    return True


@contextmanager
def _no_endless_wait() -> Iterator[None]:
    """torchvision sets no time limit on its connections; a server that falls silent would hold a stage for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
