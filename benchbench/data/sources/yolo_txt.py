"""Annotations in the text files of YOLO, and the names of their classes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchbench.data.sources.box_files import WrittenBox
from benchbench.data.sources.common import read_lines
from benchbench.data.sources.own_images import printable
from benchbench.errors import DataError, is_unicode, one_line, quoted

LARGEST_BYTES = 16 * 2**20
# Of shares: what is more than this was never divided by the side of an image.
LARGEST_SHARE = 2.0
NAME_LISTS = ("classes.txt", "obj.names")
BOX, FEWEST_OF_POLYGON = 5, 7  # values a line


def read_yolo(file: str, names: Sequence[str], keypoint_values: int = 0) -> tuple[WrittenBox, ...]:
    """The boxes in a file of a line each: class number, centre, width and height, in shares of the image's sides.

    A line of three points and more after the number is a polygon, and its box is the one around it. Where the data set
    has keypoints, they stand after the box and are not read.

    Args:
        file: its path.
        names: of the classes.
        keypoint_values: numbers of keypoints after each box.

    Raises:
        DataError: it cannot be read, or a line is none of these.
    """
    return tuple(
        _box(file, line, text.split(), names, keypoint_values)
        for line, text in enumerate(_lines(file), start=1)
        if text.strip()
    )


def _lines(file: str) -> list[str]:
    try:
        if os.path.getsize(file) > LARGEST_BYTES:
            raise _error(file, None, f"it has more than {LARGEST_BYTES >> 20} MiB, and is no annotation of one image")
        return Path(file).read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise _error(file, None, f"byte {error.object[error.start]:#04x} is not UTF-8, and this is no text") from None
    except OSError as error:
        raise _error(file, None, f"it cannot be read ({one_line(error)})") from None


def _error(file: str, line: int | None, problem: str) -> DataError:
    return DataError(f"yolo: {printable(file)}{f':{line}' if line else ''}: {problem}")


def _box(file: str, line: int, values: list[str], names: Sequence[str], keypoint_values: int) -> WrittenBox:
    if keypoint_values and len(values) == BOX + keypoint_values:
        values = values[:BOX]
    count = len(values)
    if keypoint_values and count != BOX:
        expected = f"a box has {BOX} and its keypoints have {keypoint_values} by `kpt_shape`"
        raise _error(file, line, f"{count} value{'s' if count > 1 else ''}, where {expected}")
    if count != BOX and (count < FEWEST_OF_POLYGON or count % 2 == 0):
        counted = f"{count} value{'s' if count > 1 else ''}"
        raise _error(file, line, f"{counted}, where a box has {BOX}: class, centre x, centre y, width, height")
    if not (values[0].isascii() and values[0].isdecimal() and len(values[0]) < BOX):
        raise _error(file, line, f"the class '{quoted(values[0])}' is no number; number the classes from 0")
    number = int(values[0])
    if number >= len(names):
        raise _error(file, line, f"class {number}, and the {len(names)} classes are numbered 0 to {len(names) - 1}")
    shares = [_share(file, line, text) for text in values[1:]]
    if count != BOX:
        corners = min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])
    else:
        x, y, width, height = shares
        corners = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return WrittenBox(names[number], *corners, 0, line)


def _share(file: str, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _error(file, line, f"'{quoted(text)}' is no number")
    if abs(value) > LARGEST_SHARE:
        raise _error(
            file, line, f"the value {quoted(text)} is no share of a side, 0 to 1; divide pixels by the image's size"
        )
    return value


def names_file(folder: Path) -> Path | None:
    """The file in a folder that names the classes: a YAML file, `classes.txt` or `obj.names`; None where none is there.

    Raises:
        DataError: there are several YAML files, and none is called data.yaml.
    """
    found = sorted(file for file in folder.glob("*.y*ml") if file.suffix in (".yaml", ".yml"))
    usual = [file for file in found if file.stem in ("data", "dataset")]
    if len(found) > 1 and not usual:
        raise DataError(f"yolo: {folder} holds {found[0].name} and {found[1].name}; name the classes with `classes`")
    lists = [folder / inside / name for inside in ("", "labels") for name in NAME_LISTS]
    return next((file for file in (*usual, *found, *lists) if file.is_file()), None)


class YoloClasses(NamedTuple):
    """Names of the classes by number, and the count of values of keypoints that follow each box."""

    names: tuple[str, ...]
    keypoint_values: int = 0


def classes_in(file: Path) -> YoloClasses:
    """The classes that a file names.

    Raises:
        DataError: the file cannot be read, its names are not distinct, or its `kpt_shape` is none.
    """
    content = _yaml(file) if file.suffix in (".yaml", ".yml") else None
    names = read_lines("yolo", file) if content is None else _yaml_names(file, content)
    if not names:
        raise _error(str(file), None, "it names no class")
    if twice := [name for name in names if names.count(name) > 1]:
        raise _error(str(file), None, f"two classes are named '{quoted(twice[0])}'; name each its own")
    return YoloClasses(tuple(names), _keypoint_values(file, content or {}))


def _yaml_names(file: Path, content: Mapping[object, object]) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise _error(str(file), None, f"the {len(names)} numbers under `names` are not 0 to {len(names) - 1}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
        raise _error(str(file), None, "it has no `names:`, a list of the classes or a name for each number")
    names = [str(name) if not isinstance(name, int) or abs(name) < 2**63 else "" for name in names]
    if not all(names) or not all(map(is_unicode, names)):
        raise _error(str(file), None, "a name of a class is empty, or no text that a file can hold; write it anew")
    return names


def _keypoint_values(file: Path, content: Mapping[object, object]) -> int:
    """The product of `kpt_shape: [points, values of each]`; 0 without it."""
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    if not isinstance(shape, list) or len(shape) != 2 or any(type(each) is not int or each < 1 for each in shape):
        raise _error(str(file), None, "its `kpt_shape` is no pair of whole numbers: keypoints, and values of each")
    return math.prod(shape)


def _yaml(file: Path) -> dict[object, object]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    text = "\n".join(_lines(str(file)))
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _error(str(file), line, f"it is no YAML ({one_line(error.problem or 'unreadable')})") from None
    except Exception as error:  # of tags with values of another type, a KeyError among them
        raise _error(str(file), None, f"it is no YAML ({one_line(error)})") from None
    return content if isinstance(content, dict) else {}
