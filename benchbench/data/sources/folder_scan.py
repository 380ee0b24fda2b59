"""The images below a folder per class, and all else that lies there, so that nothing is left out without a word."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.data.sources.common import class_order
from benchbench.data.sources.own_images import EXTENSIONS, printable
from benchbench.errors import DataError, one_line

# Thumbnails and settings that systems put beside a user's files; hidden ones need no list.
SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin", "lost+found"})
NAMED_KINDS = 6


@dataclass
class LeftOut:
    """Files that are no part of a data set.

    Attributes:
        kinds: their number by kind, in words.
        first: of each kind.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        self.kinds[kind] += 1
        self.first.setdefault(kind, printable(path))

    def __str__(self) -> str:
        """`3 files are left out: 2 .txt (a/notes.txt, ...), 1 hidden (a/.b.png)`; empty where there is none."""
        if not self.kinds:
            return ""
        named = [
            f"{count} {kind} ({self.first[kind]}{', ...' if count > 1 else ''})"
            for kind, count in sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))
        ]
        total, more = self.kinds.total(), "" if len(named) <= NAMED_KINDS else ", ..."
        return f"{total} file{'s are' if total > 1 else ' is'} left out: {', '.join(named[:NAMED_KINDS])}{more}"


@dataclass(frozen=True)
class SplitScan:
    """One split of a folder per class.

    Attributes:
        folder: of the split.
        by_class: paths of images by class, classes as `class_order` has them, paths sorted.
        left_out: all else, by names relative to the split's folder.
    """

    folder: Path
    by_class: dict[str, list[str]]
    left_out: LeftOut

    def files(self) -> dict[str, Path]:
        """The images by their names below the folder."""
        prefix = os.path.join(self.folder, "")
        return {path.removeprefix(prefix): Path(path) for paths in self.by_class.values() for path in paths}

    def doubtful_names(self) -> str:
        """Names that differ in case alone, in words; empty where there are none. Elsewhere they are one file."""
        counts = Counter(name.lower() for name in self.files())
        doubtful = [name for name in self.files() if counts[name.lower()] > 1]
        if not doubtful:
            return ""
        names = ", ".join(printable(name) for name in doubtful[:2])
        return f"{len(doubtful)} images have names that differ in upper and lower case alone ({names})"


def scan_split(folder: Path, more: tuple[str, ...] = ()) -> SplitScan:
    """Reads the names below a split's folder; links are followed, and no image is opened.

    Args:
        folder: of the split.
        more: extensions of images beside the usual ones.

    Raises:
        DataError: it is no folder, it holds no class folders, or a class holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"imagefolder: {folder} is not a folder; it should hold one folder of images per class")
    left_out, classes = LeftOut(), []
    for entry in _entries(str(folder)):
        if _is_folder(entry):
            if not _is_hidden(entry.name):
                classes.append(entry.name)
        elif not _is_hidden(entry.name):
            left_out.add("outside of the class folders", entry.name)
    if not classes:
        beside = f"; {left_out}" if left_out.kinds else ""
        raise DataError(f"imagefolder: {folder} holds no class folders{beside}")
    for name in classes:
        if printable(name) != name:
            raise DataError(
                f"imagefolder: the name of the class folder {folder}/{printable(name)} is no UTF-8; rename it"
            )
    scan = SplitScan(folder, {name: _images(folder, name, left_out, more) for name in class_order(classes)}, left_out)
    for name, files in scan.by_class.items():
        if not files:
            readable, others = " ".join((*EXTENSIONS, *more)), _left_out_in(folder / name)
            raise DataError(f"imagefolder: the class folder {folder / name} holds no image (of {readable}){others}")
    return scan


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones apart; none where it cannot be read."""
    try:
        return [entry.name for entry in _entries(str(folder)) if _is_folder(entry) and not _is_hidden(entry.name)]
    except DataError:
        return []


def scan_images(folder: Path, more: tuple[str, ...] = (), source: str = "unlabelled") -> SplitScan:
    """Reads the names of all images below a folder, as of one class without a name.

    Args:
        folder: that is read, with those below it.
        more: extensions of images beside the usual ones.
        source: name of the data set, for errors.

    Raises:
        DataError: it is no folder, or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{source}: {folder} is not a folder")
    left_out = LeftOut()
    images = _images(folder.parent, folder.name, left_out, more)
    if not images:
        beside = f"; {left_out}" if left_out.kinds else ""
        raise DataError(f"{source}: {folder} holds no image (of {' '.join(EXTENSIONS)}){beside}")
    return SplitScan(folder, {"": images}, left_out)


def _left_out_in(folder: Path) -> str:
    left_out = LeftOut()
    _images(folder.parent, folder.name, left_out)
    return f"; {left_out}" if left_out.kinds else ""


def _images(folder: Path, name: str, left_out: LeftOut, more: tuple[str, ...] = ()) -> list[str]:
    """Images in a class folder and its subfolders, sorted by path."""
    images, extensions = [], (*EXTENSIONS, *more)
    prefix, class_folder = os.path.join(folder, ""), folder / name
    # A link to a folder above the class would bring in the other classes.
    above = {_identity(each) for each in (folder, *folder.resolve().parents, *class_folder.resolve().parents)}
    loops: list[str] = []
    for path in _files(str(class_folder), frozenset(above), loops):
        file = os.path.basename(path)
        extension = os.path.splitext(file)[1].lower()
        if _is_hidden(file):
            # Stubs that other systems write beside each file are no images, whatever they are called.
            if extension in extensions and not file.startswith("._"):
                left_out.add("hidden", path.removeprefix(prefix))
        elif extension in extensions:
            images.append(path)
        else:
            left_out.add(extension or "without an extension", path.removeprefix(prefix))
    for path in loops:
        left_out.add("link back to a folder above it", path.removeprefix(prefix))
    for path in images:
        if not os.path.isfile(path):
            raise DataError(f"imagefolder: {printable(path)} is a link to nothing, or no file; repair or remove it")
    return sorted(images)


def _files(folder: str, above: frozenset[tuple[int, int]], loops: list[str]) -> Iterator[str]:
    """All files below a folder; a link to a folder that it lies in is added to `loops`, and is not followed."""
    identity = _identity(folder)
    if identity in above:
        loops.append(folder)
        return
    for entry in _entries(folder):
        if not _is_folder(entry):
            yield entry.path
        elif not _is_hidden(entry.name):
            yield from _files(entry.path, above | {identity}, loops)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"imagefolder: cannot read the folder {printable(folder)} ({one_line(error)})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself is one to nothing
            return False
        raise DataError(f"imagefolder: cannot read {printable(entry.path)} ({one_line(error)})") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES
