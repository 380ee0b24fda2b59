"""A user's own images with masks: a folder of each, under a folder per split, or in one folder that is split here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from benchbench.data.images import IGNORED, ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.drawn_split import Split, draw_unlabelled
from benchbench.data.sources.folder_parts import STAND_INS, check_apart, distinct, files_of, unread
from benchbench.data.sources.folder_scan import class_folders
from benchbench.data.sources.mask_files import (
    LARGEST_VALUE,
    MOST_CLASSES,
    ClassValues,
    MaskFiles,
    check_header,
    check_size,
    read_values,
)
from benchbench.data.sources.mask_pairs import Pair, PairNames, PairScan, scan_pairs
from benchbench.data.sources.own_images import SAMPLE, Range, survey_files
from benchbench.errors import DataError, quoted

# Masks of each part whose values `plan` looks at.
DECODED = 8
DRAWN = "`split: {test: 0.2, by: seed}`"
FORM = "`classes: [background, cell]` for masks of 0 and 1, or `classes: {background: 0, cell: 255}` for other values"


class MaskFolderParams(OwnFilesParams):
    """Images in one folder and their masks in another, with the same names but for the extension.

    Attributes:
        path: the folder that holds the parts, each with images/ and masks/; or with `split` these two themselves.
        classes: names of the classes in the order of their values 0, 1, 2, ...; or the values of each name, as in
            `{background: 0, cell: [1, 255]}`, where classes are numbered by their smallest value.
        ignore: values of pixels that count nowhere, unless a class has them: not in a loss, not in a score.
        images_folder: the folder of a part that holds its images.
        masks_folder: the one that holds their masks.
        mask_suffix: of a mask's name, behind that of its image: `_mask` where the mask of a.jpg is a_mask.png.
        train_folder: the part that trains.
        test_folder: the part that tests; where it is left at `test` and there is none, `val`, `valid` or `validation`.
        validation_folder: images of its own to validate on, in place of the share that `selection` holds out.
        split: draws the test part (and one to validate on) from a folder without one: `{test: 0.2, by: seed}`.
            `by: group` keeps the images of one sub-folder of images/ together.
        exif: `apply` turns an image as its EXIF orientation says, and a mask by its own; by default pixels are taken as
            they are stored.
        channels: of every image: 1 for grey, or any number; as of `imagefolder`.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; as of `imagefolder`.
    """

    path: Path
    classes: list[str] | dict[str, int | list[int]] | None = None
    ignore: int | list[int] = IGNORED
    images_folder: str = "images"
    masks_folder: str = "masks"
    mask_suffix: str = ""
    train_folder: str = "train"
    test_folder: str = "test"
    validation_folder: str | None = None
    split: Split | None = None
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    exif: Literal["ignore", "apply"] = "ignore"
    pixel_range: Range | None = None

    @field_validator("classes", mode="before")
    @classmethod
    def _name_values(cls, given: object) -> object:
        """Distinct names of distinct values, in words where they are not."""
        if given is not None and (problem := _problem(given)):
            raise PydanticCustomError("classes", "{problem}", {"problem": problem})
        return given

    @field_validator("ignore", mode="before")
    @classmethod
    def _are_values(cls, given: object) -> object:
        if not all(_is_value(each) for each in (given if isinstance(given, list) else [given])):
            raise PydanticCustomError("ignore", "write a value of masks, as in 255, or a list of them")
        return given

    @property
    def values(self) -> dict[str, tuple[int, ...]]:
        """Values by the name of their class, classes in the order of their numbers; empty where none are given."""
        if not isinstance(self.classes, dict):
            return {name: (value,) for value, name in enumerate(self.classes or ())}
        listed = {name: (each,) if isinstance(each, int) else tuple(each) for name, each in self.classes.items()}
        return dict(sorted(listed.items(), key=lambda item: min(item[1])))  # a stage's record sorts names

    @property
    def ignored(self) -> tuple[int, ...]:
        return tuple(self.ignore) if isinstance(self.ignore, list) else (self.ignore,)

    def class_values(self) -> ClassValues:
        """Classes of the values in masks.

        Raises:
            DataError: none are given.
        """
        if not self.classes:
            raise DataError(f"maskfolder: give the classes of the values in masks: {FORM}")
        numbers = dict.fromkeys(self.ignored, IGNORED)
        for number, values in enumerate(self.values.values()):
            numbers |= dict.fromkeys(values, number)
        ignored = ", ".join(map(str, [*self.ignored, "VALUE"]))
        advice = f"name its class (`classes: {{NAME: VALUE, ...}}`), or leave it out of count (`ignore: [{ignored}]`)"
        return ClassValues(tuple(sorted(numbers.items())), advice)

    @property
    def pair_names(self) -> PairNames:
        return PairNames(self.images_folder, self.masks_folder, self.mask_suffix, self.more_extensions)

    def info(self, root: Path) -> DataInfo:
        return sizes(self)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        return files_of(_scan(self), split)


def _problem(given: object) -> str:
    """The error in `classes`, in words; empty where there is none."""
    values: list[object]
    if isinstance(given, list):
        names, values = given, []
    elif isinstance(given, dict):
        names = list(given)
        values = [value for each in given.values() for value in (each if isinstance(each, list) else [each])]
    else:
        return f"write {FORM}"
    if not names or not all(isinstance(name, str) and name for name in names):
        return f"write {FORM}"
    if twice := [name for name in names if names.count(name) > 1]:
        return f"two classes are named '{quoted(twice[0])}'"
    if not all(_is_value(value) for value in values) or any(each == [] for each in _values(given)):
        return f"a class has one or several whole numbers from 0 to {LARGEST_VALUE}, as in {{background: 0, cell: 255}}"
    if shared := [value for value in values if values.count(value) > 1]:
        return f"the value {shared[0]} belongs to two classes"
    return f"there are at most {MOST_CLASSES} classes, not {len(names)}" if len(names) > MOST_CLASSES else ""


def _values(given: list[object] | dict[object, object]) -> list[object]:
    return list(given.values()) if isinstance(given, dict) else []


def _is_value(given: object) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= LARGEST_VALUE


def sizes(params: MaskFolderParams) -> DataInfo:
    """Counts of all parts, and notes on what is left out and on headers of some images.

    Raises:
        DataError: as `load`; or of some pairs that are looked at, one has a mask of colours, of another size than its
            image, or with values of no class.
    """
    scans = _scan(params)
    if not params.classes:
        raise DataError(f"maskfolder: {_found_values(scans['train'], params)}name their classes: {FORM}")
    notes = [f"{scan.folder.name}/: {note}" for scan in distinct(scans) for note in scan.notes]
    notes += unread(params, scans)
    for scan in scans.values():
        for pair in _spread(scan.pairs, SAMPLE):
            check_header(pair.mask, pair.image, params.reading)
        _check_values(params, scan)
    notes += survey_files([pair.image for pair in scans["train"].pairs], params.reading)
    counts = {part: len(scan.pairs) for part, scan in scans.items()}
    return DataInfo(
        len(params.values),
        counts["train"],
        counts["test"],
        "; ".join(notes),
        tuple(params.values),
        counts.get("validation", 0),
        params.channels,
        "segmentation",
    )


def load(params: MaskFolderParams, root: Path, split: str) -> ImageDataset:
    """One split, sorted by name. Images of a validation part stand after those that train.

    Every kind of image that Pillow reads from a fixed list counts; masks are PNG, TIFF, GIF, BMP, PGM or PBM.

    Raises:
        DataError: a folder is absent or empty, an image has no mask, `classes` are not given, or there are too few
            images for `split`.
    """
    import numpy as np

    scans, values = _scan(params), params.class_values()
    pairs, counts = list[Pair](), []
    for name in ("train", "validation") if split == "train" else ("test",):
        pairs += scans[name].pairs if name in scans else ()
        counts.append(len(pairs))
    images, masks = tuple(pair.image for pair in pairs), tuple(pair.mask for pair in pairs)
    dataset = params.dataset(np.zeros(len(pairs), np.int64), tuple(params.values), images)
    held_out = np.arange(counts[0], counts[-1]) if counts[-1] > counts[0] else None
    return replace(dataset, validation=held_out, mask=MaskFiles(masks, images, values, params.reading))


def _spread(pairs: Sequence[Pair], count: int) -> Sequence[Pair]:
    """At most so many pairs, spread over all."""
    return pairs[:: max(1, -(-len(pairs) // count))]


def _found_values(scan: PairScan, params: MaskFolderParams) -> str:
    """The values in some masks, in words; empty where none can be read."""
    import numpy as np

    found: set[int] = set()
    for pair in _spread(scan.pairs, DECODED):
        try:
            found |= set(np.unique(read_values(pair.mask, params.reading)).tolist())
        except DataError:
            return ""
    named = ", ".join(map(str, sorted(found)[:8])) + (", ..." if len(found) > 8 else "")
    return f"the masks hold values ({named} in those looked at); "


def _check_values(params: MaskFolderParams, scan: PairScan) -> None:
    """The values of some masks have classes, and do not leave all of them but one out.

    Raises:
        DataError: some do.
    """
    import numpy as np

    values, found, ignored = params.class_values(), set[int](), set[int]()
    for pair in _spread(scan.pairs, DECODED):
        stored = read_values(pair.mask, params.reading)
        check_size(pair.mask, (stored.shape[1], stored.shape[0]), pair.image, params.reading)
        classes = values.classes_of(stored, pair.mask)
        found |= set(np.unique(classes).tolist())
        ignored |= set(np.unique(stored[classes == IGNORED]).tolist())
    only = sorted(found - {IGNORED})
    # Where the suite itself says what is ignored, it means that.
    if len(params.values) < 2 or len(only) > 1 or not ignored or "ignore" in params.model_fields_set:
        return
    names, value = list(params.values), min(ignored)
    first, other = names[only[0] if only else 0], names[0 if only and only[0] else 1]
    remedy = f"`classes: {{{first}: {params.values[first][0]}, {other}: {value}}}`"
    raise DataError(
        f"maskfolder: the masks in {scan.folder / params.masks_folder} that were looked at hold no class"
        f"{f' but {quoted(first)}' if only else ''}, and the value {value}, which is ignored; if it is a class, write "
        f"{remedy}; if not, `ignore: {value}`"
    )


def _scan(params: MaskFolderParams) -> dict[str, PairScan]:
    """The parts `train`, `test` and, where there is one, `validation`."""
    scans = _drawn(params) if params.split else _folders(params)
    if params.validation_folder is not None:
        scans["validation"] = _pairs(params, params.path / params.validation_folder)
    check_apart("maskfolder", {part: [pair.image for pair in scan.pairs] for part, scan in scans.items()})
    return scans


def _pairs(params: MaskFolderParams, folder: Path) -> PairScan:
    return scan_pairs("maskfolder", folder, params.pair_names)


def _folders(params: MaskFolderParams) -> dict[str, PairScan]:
    """The parts of folders of their own."""
    train, test = params.path / params.train_folder, params.path / params.test_folder
    if not train.is_dir():
        raise DataError(f"maskfolder: {train} is not a folder{_there(params, params.path)}")
    scan = _pairs(params, train)
    if not test.is_dir() and params.test_folder == MaskFolderParams.model_fields["test_folder"].default:
        names = [name for name in STAND_INS if name != params.validation_folder]
        test = next((params.path / name for name in names if (params.path / name).is_dir()), test)
    if not test.is_dir():
        raise DataError(
            f"maskfolder: {test} is not a folder; name the test part with `test_folder`, or {DRAWN} draws one from "
            f"{train.name}/"
        )
    return {"train": scan, "test": _pairs(params, test)}


def _there(params: MaskFolderParams, folder: Path) -> str:
    """Contents of a folder without a training part, and a remedy."""
    there = class_folders(folder)
    if params.images_folder in there:
        return f"; as {folder} holds {params.images_folder}/ itself, {DRAWN} draws a test part"
    names = ", ".join(f"{name}/" for name in there[:5]) + (", ..." if len(there) > 5 else "")
    layout = f"{params.train_folder}/ and {params.test_folder}/, each with {params.images_folder}/ and"
    layout += f" {params.masks_folder}/"
    return f"; {folder} should hold {layout}" + (f", and holds {names}" if names else "")


def _drawn(params: MaskFolderParams) -> dict[str, PairScan]:
    """The parts of one folder: `train_folder` where it is there, else the whole."""
    assert params.split is not None
    train, test = params.path / params.train_folder, params.path / params.test_folder
    # A stage is given every parameter, so one at its default says nothing of what the suite asks for.
    is_named = params.train_folder != MaskFolderParams.model_fields["train_folder"].default
    folder = train if train.is_dir() or is_named else params.path
    if test.is_dir():
        raise DataError(f"maskfolder: {test} is there already; take `split` out, or the folder")
    if params.validation_folder is not None and (params.split.validation or folder == params.path):
        raise DataError("maskfolder: `validation_folder` lies beside train/; here `split: {validation: ...}` draws one")
    whole = _pairs(params, folder)
    parts = draw_unlabelled("maskfolder", [pair.name for pair in whole.pairs], params.split)
    names = ("train", "test", *(["validation"] if params.split.validation else []))
    return {
        name: whole.part(pair for pair, part in zip(whole.pairs, parts, strict=True) if part == name) for name in names
    }
