"""Images in one folder and their masks in another, paired by their names without the extension."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from benchbench.data.sources.folder_scan import LeftOut, scan_images
from benchbench.data.sources.mask_files import EXTENSIONS
from benchbench.data.sources.own_images import printable
from benchbench.errors import DataError


@dataclass(frozen=True)
class PairNames:
    """Names of the folders and files of images and masks, below the folder of a part.

    Attributes:
        images, masks: the two folders.
        suffix: of a mask's name, behind that of its image: `_mask` in `a_mask.png`.
        more: extensions of images beside the usual ones.
    """

    images: str
    masks: str
    suffix: str
    more: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """An image and its mask: their files, and the name that they share, below their folders."""

    name: str
    image: str
    mask: str


@dataclass(frozen=True)
class PairScan:
    """The images of a part with their masks.

    Attributes:
        folder: that holds the folder of images and that of masks.
        pairs: sorted by name.
        notes: on what is left out.
    """

    folder: Path
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, Path]:
        """All images and masks, by names that do not depend on the place of the folder."""
        files: dict[str, Path] = {}
        for pair in self.pairs:
            for kind, path in (("image", pair.image), ("mask", pair.mask)):
                files[f"{kind}/{pair.name}{os.path.splitext(path)[1]}"] = Path(path)
        return files

    def part(self, pairs: Iterable[Pair]) -> PairScan:
        """The same with some of its pairs."""
        return replace(self, pairs=tuple(pairs))


def scan_pairs(source: str, folder: Path, names: PairNames) -> PairScan:
    """Reads the names in the folders of images and masks; no file is opened.

    Args:
        source: name of the data set, for errors.
        folder: that holds the two.
        names: of folders and files.

    Raises:
        DataError: a folder is absent or empty, an image has no mask, or two files have one name.
    """
    for name in (names.images, names.masks):
        if not (folder / name).is_dir():
            raise DataError(
                f"{source}: {folder / name} is not a folder; {folder} should hold {names.images}/ and "
                f"{names.masks}/, of files with the same names"
            )
    images, masks = (scan_images(folder / name, names.more, source) for name in (names.images, names.masks))
    image_of = by_stem(source, images.folder, images.files(), "images")
    mask_of = by_stem(source, masks.folder, masks.files(), "masks")
    _check_kinds(source, mask_of.values())
    paired = {name: mask_of.pop(name + names.suffix, None) for name in image_of}
    absent = [name for name, mask in paired.items() if mask is None]
    if absent:
        count, first = len(absent), image_of[absent[0]]
        raise DataError(
            f"{source}: {count} of {len(image_of)} images {'have' if count > 1 else 'has'} no mask of the same name in "
            f"{masks.folder}: {printable(first)}{', ...' if count > 1 else ''}; {_remedy(absent[0], mask_of)}"
        )
    left_out = LeftOut(images.left_out.kinds + masks.left_out.kinds, {**masks.left_out.first, **images.left_out.first})
    for path in mask_of.values():
        left_out.add("without an image", os.path.relpath(path, folder))
    notes = [text for text in (str(left_out), images.doubtful_names()) if text]
    pairs = [Pair(name, image_of[name], mask) for name, mask in paired.items() if mask is not None]
    return PairScan(folder, tuple(sorted(pairs, key=lambda pair: pair.name)), tuple(notes))


def by_stem(source: str, folder: Path, files: dict[str, Path], kind: str) -> dict[str, str]:
    """Paths by names without the extension.

    Raises:
        DataError: two files differ in their extension alone.
    """
    paths: dict[str, str] = {}
    for name, path in files.items():
        stem = os.path.splitext(name)[0]
        if stem in paths:
            other = printable(os.path.basename(paths[stem]))
            raise DataError(
                f"{source}: {printable(str(folder / name))} and {other} beside it have one name, and {kind} are paired "
                "by it; remove or rename one"
            )
        paths[stem] = str(path)
    return paths


def _check_kinds(source: str, masks: Iterable[str]) -> None:
    """Masks are in files that keep their values.

    Raises:
        DataError: one is not.
    """
    lossy = [mask for mask in masks if os.path.splitext(mask)[1].lower() not in EXTENSIONS]
    if lossy:
        more = f" and {len(lossy) - 1} more" if len(lossy) > 1 else ""
        raise DataError(
            f"{source}: the mask {printable(lossy[0])}{more} is of a kind that does not keep the values of pixels; "
            "save masks as PNG"
        )


def _remedy(stem: str, masks: dict[str, str]) -> str:
    """The remedy for an image without a mask.

    Args:
        stem: the name of the image, without the extension.
        masks: those that belong to no image, by name without the extension.
    """
    if stem in masks:
        return "the mask has the name of its image: take `mask_suffix` out"
    suffixes = sorted({name[len(stem) :] for name in masks if name.startswith(stem)}, key=len)
    suffixes = [suffix for suffix in suffixes if not suffix[0].isalnum() and "/" not in suffix]
    if suffixes:
        name = printable(os.path.basename(masks[stem + suffixes[0]]))
        return f"there is {name}: `mask_suffix: {printable(suffixes[0])}`"
    return "add the masks, or take the images out"
