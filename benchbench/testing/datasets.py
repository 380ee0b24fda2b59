"""The contract of a data set: two splits of labelled images that agree with one another and with what was promised.

Images of a segmentation come with masks, whose pixels have the classes, and those of a detection with boxes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from benchbench.components import Component
from benchbench.data.images import HARD, IGNORED, Boxes, ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.own_images import OwnImagesParams
from benchbench.planning.fingerprints import fingerprint_json, has_values, named_paths
from benchbench.testing.check import Call, Options, require
from benchbench.testing.file_reads import FileReads, is_under

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")
LOOKED_AT = 20  # images of a split


@dataclass(frozen=True)
class DatasetCase:
    """A data set with parameters, and the folder of downloads.

    Attributes:
        loaded: splits, by name.
        reads: files that it has opened, from the import of its module on.
    """

    component: Component
    params: Any
    root: Path
    loaded: dict[str, ImageDataset] = field(default_factory=dict)
    reads: FileReads = field(default_factory=FileReads)

    def split(self, name: str) -> ImageDataset:
        """One split, read once for all checks: a real set takes its time."""
        if name not in self.loaded:
            self.loaded[name] = self.load(name)
        return self.loaded[name]

    def load(self, split: str) -> ImageDataset:
        """One split, as a stage loads it."""
        with self.reads.recording():
            images = self.component.load()(self.params, self.root, split)
        require(isinstance(images, ImageDataset), f"it gives a {type(images).__name__}: give an ImageDataset")
        return images


def check_info(case: DatasetCase) -> str | None:
    """Sizes, known before any image is read."""
    params = case.params
    require(isinstance(params, DatasetParams), "its params derive from Params: derive them from DatasetParams")
    with case.reads.recording():
        info = params.info(case.root)
    require(isinstance(info, DataInfo), f"info() gives a {type(info).__name__}: give a DataInfo")
    sizes = {"classes": info.classes, "train": info.train, "test": info.test}
    wrong = [f"{name} {value!r}" for name, value in sizes.items() if type(value) is not int or value < 1]
    require(not wrong, f"info() has {', '.join(wrong)}: give whole numbers above 0")
    folder = params.place(case.root)
    require(folder is None or isinstance(folder, Path), "place() gives neither a Path nor None")
    return info.note


def check_labels(case: DatasetCase) -> None:
    """Class numbers as int64, in range; every class has a training image. With masks or boxes, they are strata."""
    for split in SPLITS:
        images = case.split(split)
        labels = images.labels
        is_array = isinstance(labels, np.ndarray) and labels.dtype == np.int64 and labels.ndim == 1
        form = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, np.ndarray) else type(labels).__name__
        require(is_array, f"the {split} labels are {form}: give np.array(labels, dtype=np.int64) of one dimension")
        require(len(labels), f"the {split} split holds no image")
        if images.mask is not None or images.boxes is not None:
            require((labels >= 0).all(), f"a {split} label is {labels.min()}: number the strata of images from 0")
            continue
        count = len(images.classes)
        outside = labels[(labels < 0) | (labels >= count)]
        require(not len(outside), f"a {split} label is {outside[:1]}, but {count} classes are numbered from 0")
        absent = sorted(set(range(count)) - set(labels.tolist())) if split == "train" else []
        require(not absent, f"class {absent[:1]} has no training image: leave it out of the classes")


def check_classes(case: DatasetCase) -> None:
    """The same class names, each once and in the same order, in both splits."""
    train, test = (case.split(split).classes for split in SPLITS)
    named = isinstance(train, tuple) and all(isinstance(name, str) and name for name in train)
    require(named, "its classes are no tuple of names: give tuple(names)")
    require(len(set(train)) == len(train), "two of its classes have one name")
    require(train == test, "the splits number their classes differently: give both the same tuple of names")


def check_sizes(case: DatasetCase) -> None:
    """Sizes of `info` are those that load: plans and subsets are made of them."""
    info = case.params.info(case.root)
    train, test = (case.split(split) for split in SPLITS)
    loaded = {"classes": len(train.classes), "train": len(train), "test": len(test)}
    for name, value in loaded.items():
        expected = getattr(info, name)
        require(expected == value, f"info() gives {name}={expected}, and {value} load: make them agree")


def check_images(case: DatasetCase) -> None:
    """RGB images, and the same pixels in the array where there is one."""
    for split in SPLITS:
        images = case.split(split)
        array = images.array
        if array is not None:
            fits = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3 and len(array) == len(images)
            form = f"{array.dtype} {list(array.shape)}"
            require(fits, f"the {split} array is {form}: give uint8 [{len(images)}, H, W, 3], or None")
        for index in _some(images):
            image = images.image(index)
            require(isinstance(image, Image.Image), f"image({index}) gives a {type(image).__name__}: give a PIL.Image")
            require(image.mode == "RGB", f"image({index}) of {split} has mode {image.mode}: add .convert('RGB')")
            same = array is None or np.array_equal(np.asarray(image), array[index])
            require(same, f"image({index}) of {split} and array[{index}] differ: make one from the other")


def check_masks(case: DatasetCase) -> str | None:
    """Of a segmentation: a mask of each image's size with numbers of classes, or 255 for pixels that count nowhere."""
    task = case.params.info(case.root).task
    splits = [case.split(split) for split in SPLITS]
    masked = [split for split, images in zip(SPLITS, splits, strict=True) if images.mask is not None]
    if task != "segmentation":
        require(not masked, "its images have masks: give DataInfo(..., task='segmentation')")
        return None
    require(masked == [*SPLITS], "info() has task='segmentation': give both splits a `mask`")
    count = len(splits[0].classes)
    require(count < IGNORED, f"it has {count} classes, and a mask has room for {IGNORED - 1}")
    seen = np.zeros(IGNORED + 1, bool)
    for split, images in zip(SPLITS, splits, strict=True):
        for index in _some(images):
            seen |= np.bincount(_checked_mask(images, f"mask({index}) of {split}", index).ravel(), minlength=256) > 0
    require(seen[:count].any(), f"every pixel of the masks of {LOOKED_AT} images is {IGNORED}, and counts nowhere")
    unseen = [name for name, is_seen in zip(splits[0].classes, seen, strict=False) if not is_seen]
    return f"no pixel of '{unseen[0]}' in the masks that were looked at" if unseen else None


def _checked_mask(images: ImageDataset, name: str, index: int) -> np.ndarray:
    assert images.mask is not None
    mask, size = images.mask(index), images.image(index).size
    is_array = isinstance(mask, np.ndarray) and mask.dtype == np.uint8 and mask.ndim == 2
    form = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else f"a {type(mask).__name__}"
    require(is_array, f"{name} is {form}: give a uint8 array [H, W]")
    rows, columns = mask.shape
    fits = (columns, rows) == size
    require(fits, f"{name} is {columns} x {rows} pixels, and its image {size[0]} x {size[1]}: give masks that size")
    outside = mask[(mask >= len(images.classes)) & (mask != IGNORED)]
    most = len(images.classes) - 1
    require(not len(outside), f"{name} has the value {outside[:1]}: give 0 to {most}, or {IGNORED} for no class")
    return mask


def check_boxes(case: DatasetCase) -> str | None:
    """Of a detection: boxes within each image, with numbers of classes."""
    task = case.params.info(case.root).task
    splits = [case.split(split) for split in SPLITS]
    boxed = [split for split, images in zip(SPLITS, splits, strict=True) if images.boxes is not None]
    if task != "detection":
        require(not boxed, "its images have boxes: give DataInfo(..., task='detection')")
        return None
    require(boxed == [*SPLITS], "info() has task='detection': give both splits `boxes`")
    seen = set[int]()
    for split, images in zip(SPLITS, splits, strict=True):
        for index in _some(images):
            boxes = _checked_boxes(images, f"boxes({index}) of {split}", index)
            seen |= set(boxes.classes[boxes.ignored == 0].tolist())
    require(seen, f"no image of {LOOKED_AT} of each split has a box that counts")
    unseen = [name for number, name in enumerate(splits[0].classes) if number not in seen]
    return f"no box of '{unseen[0]}' in the images that were looked at" if unseen else None


def _checked_boxes(images: ImageDataset, name: str, index: int) -> Boxes:
    assert images.boxes is not None
    boxes, (width, height) = images.boxes(index), images.image(index).size
    require(isinstance(boxes, Boxes), f"{name} is a {type(boxes).__name__}: give Boxes")
    count = len(boxes.classes)
    for part, dtypes, shape in (
        ("corners", ("float32",), (count, 4)),
        ("classes", ("int64",), (count,)),
        ("ignored", ("uint8", "bool"), (count,)),
    ):
        given = getattr(boxes, part)
        fits = isinstance(given, np.ndarray) and given.dtype in dtypes and given.shape == shape
        form = f"{given.dtype} {list(given.shape)}" if isinstance(given, np.ndarray) else type(given).__name__
        require(fits, f"the {part} of {name} are {form}: give {' or '.join(dtypes)} {list(shape)}")
    kinds = boxes.ignored[boxes.ignored > HARD]
    require(not len(kinds), f"{name} are ignored as {kinds[:1]}: give 0, or GROUP or HARD of benchbench.data.images")
    most = len(images.classes) - 1
    outside = boxes.classes[(boxes.classes < 0) | (boxes.classes > most)]
    require(not len(outside), f"{name} have the class {outside[:1]}: give 0 to {most}")
    least, largest = boxes.corners[:, :2], boxes.corners[:, 2:]
    degenerate = boxes.corners[~(largest > least).all(1)]
    require(not len(degenerate), f"{name} have the corners {degenerate[:1]}: leave boxes without an area out")
    beyond = boxes.corners[(least < 0).any(1) | (largest > (width, height)).any(1)]
    require(
        not len(beyond), f"{name} have the corners {beyond[:1]}, and the image is {width} x {height}: cut them to it"
    )
    return boxes


def check_determinism(case: DatasetCase) -> None:
    """Labels, order, pixels, masks and boxes are the same when it is loaded again."""
    for split in SPLITS:
        first, second = case.split(split), case.load(split)
        same = np.array_equal(first.labels, second.labels)
        require(same, f"the {split} split comes in another order when it is loaded again: sort it, or fix the seed")
        for index in _some(first):
            pixels, again = (np.asarray(images.image(index)) for images in (first, second))
            require(
                np.array_equal(pixels, again),
                f"image({index}) of {split} differs when it is loaded again: fix the seed",
            )
            if first.mask is not None and second.mask is not None:
                same = np.array_equal(first.mask(index), second.mask(index))
                require(same, f"mask({index}) of {split} differs when it is loaded again: fix the seed")
            if first.boxes is not None and second.boxes is not None:
                same = _are_equal(first.boxes(index), second.boxes(index))
                require(same, f"boxes({index}) of {split} differ when it is loaded again: fix the seed")


def _are_equal(first: object, second: object) -> bool:
    """True for the same pixels of images or masks, and for the same boxes."""
    if isinstance(first, Boxes) and isinstance(second, Boxes):
        return all(np.array_equal(getattr(first, part), getattr(second, part)) for part in vars(first))
    return np.array_equal(np.asarray(first), np.asarray(second))


def check_pickles(case: DatasetCase) -> None:
    """The readers travel to loader processes."""
    images = case.split("train")
    for name, reader in (("image", images.image), ("mask", images.mask), ("boxes", images.boxes)):
        if reader is None:
            continue
        try:
            copy = pickle.loads(pickle.dumps(reader))  # noqa: S301  # made one line above
        except Exception as error:
            advice = "use a function of a module, or a dataclass with __call__, not a lambda or an open file"
            raise AssertionError(f"its `{name}` does not pickle: {advice}") from error
        kind = "boxes" if name == "boxes" else "pixels"
        require(_are_equal(copy(0), reader(0)), f"its `{name}` gives other {kind} once pickled")


def check_files(case: DatasetCase) -> None:
    """Every file that it reads is in the keys: under a path of its parameters, its place, or in its fingerprint."""
    kind, known = type(case.params).__name__, _known_files(case)
    for split in SPLITS:
        images = case.load(split)
        with case.reads.recording():
            for index in _some(images):
                images.image(index)
                if images.mask is not None:
                    images.mask(index)
                if images.boxes is not None:
                    images.boxes(index)
    unknown = [path for path in case.reads.data(case.root) if not is_under(path, known.paths)]
    if known.states_values or case.component.target.startswith("benchbench."):  # ours check the sums of their files
        unknown = [path for path in unknown if not is_under(path, [case.root])]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        remedy = f"return its path from {kind}.fingerprint(), or make it a parameter of type Path"
        if is_under(unknown[0], [case.root]):
            remedy = f"name its folder in {kind}.place(root), or give the version of a download in {kind}.fingerprint()"
        raise AssertionError(f"it reads {unknown[0]}{more}, and no key holds that: {remedy}")


@dataclass(frozen=True)
class _KnownFiles:
    """The part of keys beside the code.

    Attributes:
        paths: files and folders whose content counts.
        states_values: True where the fingerprint, or the component's version, says something beside paths.
    """

    paths: list[Path]
    states_values: bool


def _known_files(case: DatasetCase) -> _KnownFiles:
    params, name = case.params, f"{type(case.params).__name__}.fingerprint()"
    reads = FileReads()
    with reads.recording():
        given = type(params).fingerprint(params)
    again = type(params).fingerprint(params)
    require(given == again, f"{name} gives {str(given)[:80]}, then {str(again)[:80]}: give the same each time")
    fingerprint_json(params, f"check of {case.component.target}")  # refuses what is no JSON
    own = named_paths(given)
    absent = [path for path in own if not path.exists()]
    require(not absent, f"{name} names {absent[:1] and absent[0]}, which does not exist")
    folder = params.place(case.root) if isinstance(params, DatasetParams) else None
    paths = [*named_paths(params), *own, *reads.read, *([folder] if folder else [])]
    if isinstance(params, OwnImagesParams):
        for split in SPLITS:
            paths += (params.split_files(split, case.root) or {}).values()
    return _KnownFiles(paths, bool(case.component.version) or has_values(given))


CHECKS: Mapping[str, Callable[[DatasetCase], str | None]] = {
    "info": check_info,
    "labels": check_labels,
    "classes": check_classes,
    "sizes": check_sizes,
    "images": check_images,
    "masks": check_masks,
    "boxes": check_boxes,
    "determinism": check_determinism,
    "pickles": check_pickles,
    "files": check_files,
}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of a data set, ready to run."""
    case = DatasetCase(component, options.params_of(component), options.data, reads=FileReads(options.reads))
    return {name: partial(check, case) for name, check in CHECKS.items()}


def _some(images: ImageDataset) -> list[int]:
    """Numbers of images from all over a split, the first and the last among them."""
    return sorted({round(step) for step in np.linspace(0, len(images) - 1, LOOKED_AT)})
