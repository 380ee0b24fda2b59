"""Parameters and sizes of a data set, known before any image is read; imports neither torch nor pandas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchbench.components import Params

Task = Literal["classification", "segmentation", "detection"]


@dataclass(frozen=True)
class DataInfo:
    """Sizes of a data set, from its official description or from a cheap look at its files.

    Attributes:
        classes: number of classes; 0 where the images have no labels.
        train, test: number of images of each split, before any subset is taken.
        validation: images that the source itself holds out of those to train on, which `train` does not count.
        channels: of every image.
        note: something that the user must still do (get files that are absent, say); empty where there is nothing.
        names: of the classes, by number; empty where they are not known.
        task: whether an image has one class, each of its pixels has, or boxes in it have.
        fewest: training images of the smallest class; 0 where it is not known.
    """

    classes: int
    train: int
    test: int
    note: str = ""
    names: tuple[str, ...] = ()
    validation: int = 0
    channels: int = 3
    task: Task = "classification"
    fewest: int = 0

    @property
    def labelled(self) -> bool:
        return self.classes > 0


class DatasetParams(Params):
    """Parameters of a data set. A `Path` enters a stage's key as the content found there, never as a path."""

    def place(self, root: Path) -> Path | None:
        """The folder of files that were put there by hand and that no parameter names; their content enters the key."""
        return None

    def info(self, root: Path) -> DataInfo:
        """Sizes, without decoding images.

        Args:
            root: the folder that downloads go to.

        Raises:
            DataError: files are damaged or of another set, or sizes cannot be known without files that are absent.
        """
        raise NotImplementedError
