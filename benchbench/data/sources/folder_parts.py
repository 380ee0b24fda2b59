"""Parts of a user's folder of images, each in a folder of its own or drawn from one: with classes, or with masks."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from benchbench.data.sources.own_images import printable
from benchbench.errors import DataError

# Folders of images that were put aside, in the order in which one stands in for `test`.
STAND_INS = ("val", "valid", "validation")
# Of a name that no folder has: files that are held out, beside those to train on.
VALIDATION = "../validation"


class Scan(Protocol):
    """Names in the folder of one part."""

    @property
    def folder(self) -> Path: ...

    def files(self) -> dict[str, Path]: ...


class Parts(Protocol):
    """Parameters that say where the parts are; `split` where they are drawn."""

    @property
    def path(self) -> Path: ...

    @property
    def test_folder(self) -> str: ...

    @property
    def split(self) -> object | None: ...


AnyScan = TypeVar("AnyScan", bound=Scan)


def files_of(scans: Mapping[str, Scan], split: Literal["train", "test"]) -> dict[str, Path]:
    """The files of a split by name; those of a validation part belong to the training split."""
    files = scans[split].files()
    if split == "train" and "validation" in scans:
        files |= {f"{VALIDATION}/{name}": path for name, path in scans["validation"].files().items()}
    return files


def distinct(scans: Mapping[str, AnyScan]) -> list[AnyScan]:
    """The scans of different folders: parts of one that was drawn from share what is left out."""
    return list({scan.folder: scan for scan in scans.values()}.values())


def unread(params: Parts, scans: Mapping[str, Scan]) -> list[str]:
    """A note on a part that stands in for the test part, and on folders that look like parts and are not read."""
    read = {scan.folder for scan in scans.values()}
    test = scans["test"].folder.name
    notes = [f"{test}/ tests, as there is no test/"] if params.split is None and test != params.test_folder else []
    for name in STAND_INS:
        if params.path / name not in read and params.path not in read and (params.path / name).is_dir():
            notes.append(f"{name}/ is not read (`validation_folder: {name}` chooses epochs by it)")
    return notes


def check_apart(source: str, images: Mapping[str, Iterable[str]]) -> None:
    """No image is in two parts, be it by way of a link to a folder.

    Args:
        source: name of the data set, for the error.
        images: their paths by part.

    Raises:
        DataError: one is.
    """
    folder_of = functools.cache(os.path.realpath)
    parts = {
        part: {os.path.join(folder_of(os.path.dirname(path)), os.path.basename(path)): path for path in paths}
        for part, paths in images.items()
    }
    for one, other in itertools.combinations(parts, 2):
        if both := sorted({*parts[one]} & {*parts[other]}):
            first, verb = printable(parts[other][both[0]]), "validate" if other == "validation" else other
            raise DataError(
                f"{source}: the parts are to differ: {first}{', ...' if len(both) > 1 else ''} is both to {one} and to "
                f"{verb} on; name other folders"
            )
