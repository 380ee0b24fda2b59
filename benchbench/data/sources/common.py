"""Decoding with errors that name the file, and checks of labels and files.

NumPy and Pillow are imported inside functions, here and in every data set's module: a plan reads their parameters and
sizes, and no image.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def decode(source: str | Path | IO[bytes], location: str) -> Image.Image:
    """An image in RGB, whatever its mode (grey, palette, CMYK).

    Args:
        source: a file's path or its bytes.
        location: for the error.

    Raises:
        DataError: it cannot be read or decoded.
    """
    from PIL import Image

    try:
        with Image.open(source) as image:
            return image.convert("RGB")
    except Exception as error:  # PIL's decoders raise many kinds for damaged files, SyntaxError among them
        raise DataError(f"cannot read the image {location} ({one_line(error)})") from error


@dataclass(frozen=True)
class FileImages:
    """Image i of a list of files, decoded when asked for."""

    files: tuple[str, ...]

    def __call__(self, index: int) -> Image.Image:
        return decode(self.files[index], self.files[index])


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Image i of an array [N, H, W, 3], uint8."""

    array: np.ndarray

    def __call__(self, index: int) -> Image.Image:
        from PIL import Image

        return Image.fromarray(self.array[index])


def class_order(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of their numbers: sorted, and by value where all are numbers: 2 before 10."""
    names = sorted(names)
    return sorted(names, key=int) if all(name.isascii() and name.isdecimal() for name in names) else names


def check_labels(name: str, labels: Sequence[int] | np.ndarray, classes: Sequence[str], split: str) -> np.ndarray:
    """Labels [N] as int64.

    Raises:
        DataError: the split is empty, a label has no class, or a class has no training image (a network would learn
            never to answer it, and accuracy would silently lack a class).
    """
    import numpy as np

    checked = np.asarray(labels, dtype=np.int64)
    if not len(checked):
        raise DataError(f"{name}: the {split} split holds no image")
    if duplicates := sorted(each for each, count in Counter(classes).items() if count > 1):
        raise DataError(f"{name}: two classes are both named '{duplicates[0]}'")
    wrong = np.flatnonzero((checked < 0) | (checked >= len(classes)))
    if len(wrong):
        raise DataError(
            f"{name}: image {wrong[0]} of the {split} split has label {checked[wrong[0]]}, but the {len(classes)} "
            f"classes are numbered 0 to {len(classes) - 1}"
        )
    if split == "train":
        absent = np.flatnonzero(np.bincount(checked, minlength=len(classes)) == 0)
        if len(absent):
            others = f" (nor do {len(absent) - 1} more)" if len(absent) > 1 else ""
            raise DataError(
                f"{name}: label {absent[0]} '{classes[absent[0]]}' never occurs in the training split{others}; "
                "remove the class or add images of it"
            )
    return checked


def check_files(name: str, files: Sequence[str], hint: str) -> None:
    """Every listed image is there; found out at once, not hours into an epoch.

    Raises:
        DataError: naming the first that is not.
    """
    absent = [file for file in files if not os.path.isfile(file)]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise DataError(f"{name}: {absent[0]}{more} is listed but not there; {hint}")


def read_lines(name: str, file: Path) -> list[str]:
    """The lines of a list file that are not empty, stripped.

    Raises:
        DataError: it is absent or no text.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot read the list {file} ({one_line(error)})") from error
    return [line for line in lines if line]
