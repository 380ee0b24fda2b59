"""Annotations in the JSON of COCO."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from benchbench.data.images import GROUP
from benchbench.data.sources.box_files import WrittenBox
from benchbench.data.sources.own_images import printable
from benchbench.errors import DataError, is_unicode, one_line, quoted

LARGEST_BYTES = 4 * 2**30
LISTS = ("images", "annotations", "categories")
# Of annotations, outlines take most of the memory, and nothing here reads them.
UNREAD = ("segmentation", "keypoints", "caption")
CROWD, NO_CROWD = (1, "1"), (None, 0, "0")  # of `iscrowd`; true and false are among them
Id = int | str
Entry = Mapping[str, object]


@dataclass(frozen=True)
class CocoImage:
    """An image: its file below the folder of images, its size where it is stated, and its boxes."""

    file: str
    size: tuple[int, int] | None
    boxes: tuple[WrittenBox, ...]


@dataclass(frozen=True)
class CocoFile:
    """The content of a file.

    Attributes:
        images: sorted by the names of their files.
        classes: names of the categories, sorted by id.
        notes: on annotations that are left out, or whose ids are not distinct.
    """

    images: tuple[CocoImage, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_coco(path: Path) -> CocoFile:
    """The images, boxes and categories in a file; kept in memory as long as it does not change.

    Raises:
        DataError: it cannot be read, or its entries are not of COCO's form.
    """
    try:
        status = path.stat()
    except OSError:
        raise DataError(f"coco: there is no file {path}; a JSON file with COCO's annotations belongs there") from None
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, size: int, _changed: int) -> CocoFile:
    if size > LARGEST_BYTES:
        raise DataError(f"coco: {path} has more than {LARGEST_BYTES >> 30} GiB; write a file for each part")
    reader = _Reader(path)
    return CocoFile(reader.images(), tuple(reader.categories.values()), reader.notes())


class _Reader:
    """A file, entry by entry.

    Attributes:
        categories: names by id, sorted by id.
    """

    def __init__(self, path: Path):
        self._path = path
        self._content = self._json()
        self.categories: dict[Id, str] = self._categories()
        self._boxes: dict[Id, list[WrittenBox]] = {}
        self._ids = Counter[Id]()
        for place, entry in self._entries("annotations"):
            self._boxes.setdefault(self._id(entry, "image_id", place), []).append(self._box(entry, place))
        self._unlisted: list[Id] = []

    def images(self) -> tuple[CocoImage, ...]:
        """Every image with its boxes, sorted by file."""
        ids, files, images = set[Id](), set[str](), []
        for place, entry in self._entries("images"):
            number, file = self._id(entry, "id", place), self._file(entry, place)
            if number in ids or file in files:
                self.fail(f"{place}: another image has its {'id' if number in ids else 'file_name'}; keep one of them")
            ids.add(number)
            files.add(file)
            images.append(CocoImage(file, _size(entry), tuple(self._boxes.get(number, ()))))
        if not images:
            self.fail("`images` is empty")
        self._unlisted = [number for number in self._boxes if number not in ids]
        return tuple(sorted(images, key=lambda image: image.file))

    def notes(self) -> tuple[str, ...]:
        """Notes; `images` is called before."""
        notes = []
        if self._unlisted:
            count = sum(len(self._boxes[number]) for number in self._unlisted)
            boxes = f"{count} annotations are" if count > 1 else "1 annotation is"
            notes.append(
                f"{boxes} of an image that {self._path.name} does not list, and left out ({self._unlisted[0]})"
            )
        if repeated := [number for number, count in self._ids.items() if count > 1]:
            ids, verb = (f"{len(repeated)} ids", "occur") if len(repeated) > 1 else ("1 id", "occurs")
            notes.append(f"{ids} of annotations in {self._path.name} {verb} more than once ({repeated[0]})")
        return tuple(notes)

    def fail(self, problem: str, line: int | None = None) -> NoReturn:
        raise DataError(f"coco: {printable(str(self._path))}{f':{line}' if line else ''}: {problem}")

    def _json(self) -> Mapping[str, list[object]]:
        try:
            with self._path.open(encoding="utf-8-sig") as stream:
                content = json.load(stream, object_hook=_without_outlines)
        except json.JSONDecodeError as error:
            self.fail(f"it is no JSON ({error.msg}); export it again", error.lineno)
        except (OSError, ValueError, RecursionError) as error:
            self.fail(f"it cannot be read ({one_line(error)})")
        if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in LISTS):
            lists = content if isinstance(content, dict) else {name: list[object]() for name in LISTS}
            lacking = next((f", and has no list {name}" for name in LISTS if not isinstance(lists.get(name), list)), "")
            self.fail(f"it is no file of COCO's annotations, which has the lists {', '.join(LISTS)}{lacking}")
        return content

    def _entries(self, name: str) -> Iterator[tuple[str, Entry]]:
        for number, entry in enumerate(self._content[name]):
            place = f"{name}[{number}]"
            if not isinstance(entry, dict):
                self.fail(f"{place} is no object with keys")
            yield place, entry

    def _id(self, entry: Entry, key: str, place: str) -> Id:
        value = entry.get(key)
        if isinstance(value, float) and value.is_integer():  # written by a program whose numbers are all floats
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.fail(f"{place} has no `{key}`, a number")
        return value

    def _categories(self) -> dict[Id, str]:
        names: dict[Id, str] = {}
        seen = set[str]()
        for place, entry in self._entries("categories"):
            number, name = self._id(entry, "id", place), entry.get("name")
            if not isinstance(name, str) or not name:
                self.fail(f"{place} has no `name`")
            if not is_unicode(name):
                self.fail(f"{place}: its `name` is no text that a file can hold; write it anew")
            if number in names or name in seen:
                self.fail(f"{place}: another category has its {'id' if number in names else 'name'}; give it its own")
            names[number] = name
            seen.add(name)
        if not names:
            self.fail("`categories` is empty, and they are the classes")
        return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))

    def _file(self, entry: Entry, place: str) -> str:
        file = entry.get("file_name")
        if not isinstance(file, str) or not file or "\0" in file:
            self.fail(f"{place} has no `file_name`")
        file = os.path.normpath(file.replace("\\", "/"))
        if os.path.isabs(file) or file.split("/")[0] == "..":
            self.fail(f"{place}: the file '{quoted(file)}' lies outside of the folder of images")
        return file

    def _box(self, entry: Entry, place: str) -> WrittenBox:
        given = entry.get("id")
        number = given if isinstance(given, int | str) else place
        self._ids[number] += 1
        category = self._id(entry, "category_id", place)
        if category not in self.categories:
            known = ", ".join(map(str, list(self.categories)[:8])) + (", ..." if len(self.categories) > 8 else "")
            self.fail(f"{place} has the category {quoted(category)}, and `categories` has {known}")
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(value) for value in box):
            self.fail(f"{place} has no `bbox` of four numbers: left, top, width, height")
        left, top, width, height = map(float, box)
        crowd = entry.get("iscrowd")
        if crowd not in CROWD and crowd not in NO_CROWD:
            self.fail(f"{place}: `iscrowd` is {quoted(crowd)}; write 0 or 1")
        ignored = GROUP if crowd in CROWD else 0
        return WrittenBox(self.categories[category], left, top, left + width, top + height, ignored, number)


def _without_outlines(entry: dict[str, object]) -> dict[str, object]:
    for key in UNREAD:
        entry.pop(key, None)
    return entry


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _size(entry: Entry) -> tuple[int, int] | None:
    """Width and height; None where they are absent or none."""
    sides = [entry.get("width"), entry.get("height")]
    width, height = (int(side) if isinstance(side, int | float) and 0 < side < 2**31 else 0 for side in sides)
    return (width, height) if width and height else None
