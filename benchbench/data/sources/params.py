"""Parameters and sizes of every data set, without importing what reads them (torch, numpy, PIL, pyarrow).

Sizes of the known sets are the official ones: CIFAR-10 and CIFAR-100 (Krizhevsky 2009), DTD (Cimpoi et al. 2014),
Caltech-101 (Fei-Fei et al. 2004), Flowers-102 (Nilsback and Zisserman 2008), Oxford-IIIT Pet (Parkhi et al. 2012),
CUB-200-2011 (Wah et al. 2011), MIT-67 (Quattoni and Torralba 2009).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from benchbench.data.info import DataInfo, DatasetParams


class Cifar10SubsetParams(DatasetParams):
    """The images that come with the package; nothing to choose."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=10, train=1000, test=1000)


class Cifar10Params(DatasetParams):
    """CIFAR-10, official split."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=10, train=50000, test=10000)


class Cifar100Params(DatasetParams):
    """CIFAR-100 with its 100 fine labels, official split."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=100, train=50000, test=10000)


class DtdParams(DatasetParams):
    """DTD: the official train and val lists train, the test list tests.

    Attributes:
        partition: which of the ten official partitions; most papers use the first.
    """

    partition: int = Field(default=1, ge=1, le=10)

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=47, train=3760, test=1880)


class Caltech101Params(DatasetParams):
    """Caltech-101 without its background class: 8,677 images, 80 % of which train (see `torchvision_sets`)."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=101, train=6942, test=1735)


class Flowers102Params(DatasetParams):
    """Flowers-102: the official train and val lists train (20 images a class), the test list tests."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=102, train=2040, test=6149)


class PetsParams(DatasetParams):
    """Oxford-IIIT Pet by breed: the official trainval list trains, the test list tests."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=37, train=3680, test=3669)


class Cub200Params(DatasetParams):
    """CUB-200-2011, official split.

    Attributes:
        path: the archive's folder CUB_200_2011; by default the folder of that name in the data folder.
    """

    path: Path | None = None

    def place(self, root: Path) -> Path | None:
        return root / "CUB_200_2011" if self.path is None else None

    def info(self, root: Path) -> DataInfo:
        from benchbench.data.sources.cub200 import sizes

        return sizes(self, root)


class Mit67Params(DatasetParams):
    """MIT-67 indoor scenes, official split.

    Attributes:
        path: the folder that holds Images/, TrainImages.txt and TestImages.txt; by default mit67 in the data folder.
    """

    path: Path | None = None

    def place(self, root: Path) -> Path | None:
        return root / "mit67" if self.path is None else None

    def info(self, root: Path) -> DataInfo:
        from benchbench.data.sources.mit67 import sizes

        return sizes(self, root)


class ImageFolderParams(DatasetParams):
    """Images in one folder per class.

    Attributes:
        path: the folder that holds the two splits.
        train_folder: the split that trains.
        test_folder: the split that tests; where it is left at `test` and only `val` is there, that one.
    """

    path: Path
    train_folder: str = "train"
    test_folder: str = "test"

    def info(self, root: Path) -> DataInfo:
        from benchbench.data.sources.imagefolder import sizes

        return sizes(self)


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
        from benchbench.data.sources.huggingface import sizes

        return sizes(self, root)
