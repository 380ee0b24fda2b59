"""Annotations in the XML of Pascal VOC, which LabelImg, CVAT and others write too."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Literal
from xml.parsers import expat

from benchbench.data.images import HARD
from benchbench.data.sources.box_files import WrittenBox
from benchbench.data.sources.own_images import printable
from benchbench.errors import DataError, one_line, quoted

LARGEST_BYTES, DEEPEST = 16 * 2**20, 32
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIDES = ("width", "height")
# Of `difficult`, in small letters; some programs write words.
DIFFICULT, NOT_DIFFICULT = ("1", "true", "yes"), ("", "0", "false", "no", "unspecified")
Convention = Literal["pixels", "edges"]


@dataclass(frozen=True)
class VocAnnotation:
    """The boxes of one image, and its size where it is stated."""

    boxes: tuple[WrittenBox, ...]
    size: tuple[int, int] | None


@dataclass
class _Object:
    """An object that is being read.

    Attributes:
        line: that it begins in.
        texts: of its parts.
    """

    line: int
    texts: dict[str, str] = field(default_factory=dict)


def read_voc(file: str, corners: Convention, ignores_difficult: bool) -> VocAnnotation:
    """The annotation in a file.

    Args:
        file: its path.
        corners: "pixels" where they are VOC's own, the numbers of the first and the last column and row, counted from
            1, so that a box over a whole image of 640 pixels is from 1 to 640; "edges" where they are positions in
            pixels from the left upper corner, so that it is from 0 to 640.
        ignores_difficult: whether objects that are marked as difficult are ignored.

    Raises:
        DataError: it cannot be read, declares a document type, or an object has no name or no box.
    """
    reader = _Reader(file)
    boxes = tuple(_box(each, reader, corners, ignores_difficult) for each in reader.objects)
    return VocAnnotation(boxes, _size(reader))


class _Reader:
    """Texts of the elements that are asked for, by their path; nothing is expanded or fetched."""

    def __init__(self, file: str):
        self.file, self.objects, self.sides = file, list[_Object](), dict[str, str]()
        self._path, self._text = list[str](), list[str]()
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.buffer_text = self._text.append, True
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        try:
            if os.path.getsize(file) > LARGEST_BYTES:
                raise self.error(f"it has more than {LARGEST_BYTES >> 20} MiB, and is no annotation of one image")
            with open(file, "rb") as stream:
                parser.ParseFile(stream)
        except expat.ExpatError as error:
            problem = f"it is no well-formed XML ({expat.errors.messages[error.code]})"
            raise self.error(f"{problem}; annotate the image again", error.lineno) from None
        except (OSError, ValueError, LookupError) as error:  # an unknown encoding among them
            raise self.error(f"it cannot be read ({one_line(error)})") from None

    def error(self, problem: str, line: int | None = None) -> DataError:
        return DataError(f"voc: {printable(self.file)}{f':{line}' if line else ''}: {problem}")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        path = self._path
        path.append(name)
        self._text.clear()
        if len(path) == 2 and name == "object":
            self.objects.append(_Object(self._parser.CurrentLineNumber))
        elif len(path) == 1 and name != "annotation":
            problem = f"the outermost element is '{quoted(name)}', where VOC has 'annotation'"
            raise self.error(problem, self._parser.CurrentLineNumber)
        elif len(path) > DEEPEST:
            problem = f"elements lie more than {DEEPEST} deep in one another"
            raise self.error(problem, self._parser.CurrentLineNumber)

    def _end(self, name: str) -> None:
        path, depth = self._path, len(self._path)
        if depth > 2 and path[1] == "object" and (depth == 3 or (depth == 4 and path[2] == "bndbox")):
            self.objects[-1].texts[name] = "".join(self._text).strip()
        elif depth == 3 and path[1] == "size":
            self.sides[name] = "".join(self._text).strip()
        path.pop()
        self._text.clear()

    def _refuse_document_type(self, *_: object) -> None:
        raise self.error("it declares a document type, which no annotation needs; remove <!DOCTYPE ...>")


def _size(reader: _Reader) -> tuple[int, int] | None:
    """Width and height; None where they are absent or 0, as some programs write them."""
    sides = [reader.sides.get(side, "") for side in SIDES]
    if not all(side.isascii() and side.isdecimal() and len(side) < 8 and int(side) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _box(each: _Object, reader: _Reader, corners: Convention, ignores_difficult: bool) -> WrittenBox:
    if not each.texts.get("name"):
        raise reader.error("this object has no name, which is its class", each.line)
    left, top, right, bottom = (_number(each, name, reader) for name in CORNERS)
    if corners == "pixels" and right > left and bottom > top:  # else it is a click, and not an object of one pixel
        left, top = left - 1, top - 1
    is_hard = ignores_difficult and _is_difficult(each, reader)
    return WrittenBox(each.texts["name"], left, top, right, bottom, HARD if is_hard else 0, each.line)


def _is_difficult(each: _Object, reader: _Reader) -> bool:
    text = each.texts.get("difficult", "")
    if text.lower() in NOT_DIFFICULT:
        return False
    if text.lower() not in DIFFICULT:
        raise reader.error(f"`difficult` of this object is '{quoted(text)}'; write 0 or 1", each.line)
    return True


def _number(each: _Object, name: str, reader: _Reader) -> float:
    text = each.texts.get(name)
    if text is None:
        raise reader.error(f"this object has no {name} in a bndbox, and a box has {', '.join(CORNERS)}", each.line)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise reader.error(f"{name} of this object is '{quoted(text)}', and no number", each.line)
    return value
