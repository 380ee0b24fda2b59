"""A user's own images by a list: a CSV or TSV file with a path, a label and, if there is one, a part in each row."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.common import check_labels, class_order
from benchbench.data.sources.drawn_split import Part, Split, draw_parts
from benchbench.data.sources.own_images import Range, printable, survey_files
from benchbench.errors import DataError, did_you_mean, one_line, quoted

# Names of columns, in any case, in the order in which they are looked for.
COLUMNS = {
    "path": ("path", "image", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img"),
    "label": ("label", "class", "target", "category", "label_name", "class_name", "species"),
    "split": ("split", "set", "subset", "partition", "part"),
}
# Values of the column of parts; of those to test on the first that occurs.
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
ADVICE = "`split: {test: 0.2, by: seed}`"
SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";"}
VALIDATION = "../validation"  # of a name that no label has: files that are held out, beside those to train on


class CsvParams(OwnFilesParams):
    """Images that a CSV or TSV file lists, one a row, under a row with the names of columns.

    Attributes:
        path: the file. Paths in it are relative to its folder.
        folder: what paths in it are relative to instead.
        path_column: the column of paths; default: `path`, `image`, `file`, `filename` or the like, whichever is there.
        label_column: the column of labels; default: `label`, `class`, `target`, `category` or the like.
        split_column: the column of parts; default: `split`, `set`, `subset`, `partition`, `part`.
        group_column: the column of groups, for `split: {by: group}`.
        train_split: its value of rows to train on; default: `train` or `training`.
        test_split: its value of rows to test on; default: `test`, else `val`, `valid` or `validation`.
        validation_split: its value of rows to validate on, in place of the share that `selection` holds out.
        split: draws the parts where no column has them: `{test: 0.2, by: seed}`, as of `imagefolder`.
        separator: between columns; default: the one that the first line has most of.
        channels: of every image: 1 for grey, or any number; as of `imagefolder`.
        exif: `apply` turns an image as its EXIF orientation says; by default pixels are taken as they are stored.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; as of `imagefolder`.
    """

    path: Path
    folder: Path | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    validation_split: str | None = None
    split: Split | None = None
    separator: Literal["comma", "tab", "semicolon"] | None = None
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    exif: Literal["ignore", "apply"] = "ignore"
    pixel_range: Range | None = None

    def info(self, root: Path) -> DataInfo:
        return sizes(self)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        rows = _read(self).rows
        files = _named([row for row in rows if row.part == split])
        if split == "train":
            held_out = _named([row for row in rows if row.part == "validation"])
            files |= {f"{VALIDATION}/{name}": path for name, path in held_out.items()}
        return files


@dataclass(frozen=True)
class Row:
    """An image.

    Attributes:
        line: of the file.
        file: path of the image.
        label: its class.
        group: for a split by groups.
        value: in the column of parts.
        part: that it belongs to.
    """

    line: int
    file: str
    label: str
    group: str
    value: str = ""
    part: Part = "train"


@dataclass(frozen=True)
class Listing:
    """The rows of a file that are used, and notes on the others."""

    rows: list[Row]
    notes: list[str]


def sizes(params: CsvParams) -> DataInfo:
    """Counts of all parts, and notes on rows that are left out and on headers of some images.

    Raises:
        DataError: as `load`.
    """
    listing = _read(params)
    counts = Counter(row.part for row in listing.rows)
    classes = _classes(listing.rows)
    files = [row.file for row in listing.rows if row.part == "train"]
    note = "; ".join([*listing.notes, *survey_files(files, params.reading)])
    fewest = min(Counter(row.label for row in listing.rows if row.part == "train").values())
    sizes = len(classes), counts["train"], counts["test"]
    return DataInfo(*sizes, note, tuple(classes), counts["validation"], params.channels, fewest=fewest)


def load(params: CsvParams, root: Path, split: str) -> ImageDataset:
    """One split. Classes are the sorted labels (numbers by their value); images come by class, then by path.

    The order of rows changes nothing. Images of a validation part stand after those that train.

    Raises:
        DataError: the file cannot be read, a column is absent, a row is incomplete, an image is not there or is listed
            twice, or the parts differ in their classes.
    """
    import numpy as np

    rows = _read(params).rows
    classes = _classes(rows)
    numbers = {label: number for number, label in enumerate(classes)}
    chosen: list[Row] = []
    counts = []
    for part in ("train", "validation") if split == "train" else ("test",):
        chosen += sorted((row for row in rows if row.part == part), key=lambda row: (numbers[row.label], row.file))
        counts.append(len(chosen))
    labels = check_labels("csv", [numbers[row.label] for row in chosen], classes, split)
    held_out = np.arange(counts[0], counts[-1]) if counts[-1] > counts[0] else None
    images = params.dataset(labels, tuple(classes), tuple(row.file for row in chosen))
    return replace(images, validation=held_out)


def _named(rows: Sequence[Row]) -> dict[str, Path]:
    """Files by label and path below the folder that they share, which their place does not change."""
    if not rows:
        return {}
    base = os.path.commonpath([os.path.dirname(row.file) for row in rows])
    return {f"{row.label}\t{os.path.relpath(row.file, base)}": Path(row.file) for row in rows}


def _classes(rows: Sequence[Row]) -> list[str]:
    return class_order({row.label for row in rows})


def _read(params: CsvParams) -> Listing:
    """The rows with their parts, checked."""
    table = _Table(params)
    rows = list(table.rows())
    if not rows:
        raise table.error("it lists no image")
    _check_files(table, rows)
    listing = _with_drawn_parts(table, rows) if params.split else _with_given_parts(table, rows)
    _check_classes(table, listing.rows)
    return listing


class _Table:
    """The file: its columns, found by the names in its first row."""

    def __init__(self, params: CsvParams):
        self.params = params
        self._lines = self._content()
        (self.header_line, self.header) = next((each for each in self._lines if any(each[1])), (1, []))
        self.header = [name.strip() for name in self.header]
        if not any(self.header):
            raise self.error("it is empty; the first row names the columns")
        self.path = self._required("path")
        self.label = self._required("label")
        self.split = self._column("split")
        self.group = self._named(params.group_column, "group_column") if params.group_column is not None else None

    def error(self, problem: str, line: int | None = None) -> DataError:
        place = f"{printable(str(self.params.path))}{f', line {line}' if line else ''}"
        return DataError(f"csv: {place}: {problem}")

    def rows(self) -> Iterator[Row]:
        folder = str(self.params.folder or self.params.path.parent)
        for line, cells in self._lines:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(self.header):
                raise self.error(
                    f"{len(cells)} columns, where the first row has {len(self.header)}; put text with a separator in "
                    "quotes",
                    line,
                )
            path, label = cells[self.path].strip(), cells[self.label].strip()
            for name, value in (("path", path), ("label", label)):
                if not value:
                    raise self.error(f"the {name} is empty; fill it in or remove the row", line)
            file = os.path.normpath(os.path.join(folder, path))
            group = file if self.group is None else cells[self.group].strip()
            yield Row(line, file, label, group, cells[self.split].strip() if self.split is not None else "")

    def _content(self) -> Iterator[tuple[int, list[str]]]:
        path = self.params.path
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                first = next((line for line in stream if line.strip()), "")
                stream.seek(0)
                separator = self._separator(first)
                reader = csv.reader(stream, delimiter=separator, strict=True, skipinitialspace=separator != "\t")
                for cells in reader:
                    yield reader.line_num, cells
        except FileNotFoundError:
            raise self.error("there is no such file") from None
        except UnicodeDecodeError as error:
            raise self.error(f"byte {error.object[error.start]:#04x} is not UTF-8; save it as UTF-8") from None
        except (OSError, csv.Error) as error:
            raise self.error(f"it cannot be read ({one_line(error)})") from None

    def _separator(self, first: str) -> str:
        if self.params.separator is not None:
            return SEPARATORS[self.params.separator]
        return max(SEPARATORS.values(), key=first.count)

    def _required(self, kind: str) -> int:
        index = self._column(kind)
        if index is None:
            usual = ", ".join(COLUMNS[kind][:4])
            raise self.error(f"no column is called {usual} or the like; name it with `{kind}_column`{self._columns()}")
        return index

    def _column(self, kind: str) -> int | None:
        """The column that the user named, else the first of the usual names."""
        parameter = f"{kind}_column"
        given = getattr(self.params, parameter)
        if given is not None:
            return self._named(given, parameter)
        names = [name.lower() for name in self.header]
        usual = next((name for name in COLUMNS[kind] if name in names), None)
        if usual is not None and names.count(usual) > 1:
            raise self.error(f"{names.count(usual)} columns are called '{usual}'; rename one")
        return None if usual is None else names.index(usual)

    def _named(self, name: str, parameter: str) -> int:
        if self.header.count(name) != 1:
            if name in self.header:
                raise self.error(f"{self.header.count(name)} columns are called '{quoted(name)}'; rename one")
            hint = did_you_mean(name, self.header)
            raise self.error(f"`{parameter}`: there is no column '{quoted(name)}'; {hint}{self._columns()}")
        return self.header.index(name)

    def _columns(self) -> str:
        return f" (columns: {', '.join(quoted(name) for name in self.header[:12])})"


def _check_files(table: _Table, rows: Sequence[Row]) -> None:
    """Each image is there, and is listed once."""
    lines: dict[str, int] = {}
    for row in rows:
        if row.file in lines:
            problem = f"the image of line {lines[row.file]} again; an image has one label and one part, so keep one row"
            raise table.error(problem, row.line)
        lines[row.file] = row.line
    absent = [row for row in rows if not os.path.isfile(row.file)]
    if absent:
        more = f" (and {len(absent) - 1} more are not)" if len(absent) > 1 else ""
        hint = ", and have / between folders, not \\" if "\\" in absent[0].file else ""
        raise table.error(
            f"{printable(absent[0].file)} is not there{more}; paths are relative to "
            f"{'`folder`' if table.params.folder else 'this file'}{hint}",
            absent[0].line,
        )


def _with_drawn_parts(table: _Table, rows: Sequence[Row]) -> Listing:
    """Rows with the parts that `split` draws."""
    params = table.params
    assert params.split is not None
    if table.split is not None and params.split_column is not None:
        raise table.error(f"'{params.split_column}' has the parts already; take out `split` or `split_column`")
    for parameter in ("train_split", "test_split", "validation_split"):
        if getattr(params, parameter) is not None:
            raise table.error(
                f"`split` draws the parts, and `{parameter}` names one that is there; take one of both out"
            )
    if params.split.by == "group" and table.group is None:
        raise table.error("`split: {by: group}` needs `group_column`, the column of groups")
    if params.split.by != "group" and table.group is not None:
        raise table.error("`group_column` keeps groups together with `by: group` in `split`; add that, or take it out")
    names = _drawn_names(params, rows)
    groups = [row.group for row in rows] if params.split.by == "group" else names
    parts = draw_parts("csv", [row.label for row in rows], groups, params.split)
    column = table.header[table.split] if table.split is not None else None
    notes = [f"the column '{column}' is not read, as `split` draws the parts"] if column else []
    return Listing([replace(row, part=part) for row, part in zip(rows, parts, strict=True)], notes)


def _drawn_names(params: CsvParams, rows: Sequence[Row]) -> list[str]:
    """Names to draw by: they depend neither on the place of the whole nor, below the folder of paths, on other rows."""
    folder = os.path.abspath(params.folder or params.path.parent)
    files = [os.path.abspath(row.file) for row in rows]
    names = [os.path.relpath(file, folder) for file in files]
    elsewhere = [file for file, name in zip(files, names, strict=True) if name.startswith(os.pardir + os.sep)]
    base = os.path.commonpath([os.path.dirname(file) for file in elsewhere]) if elsewhere else ""
    outside = {file: os.path.join(os.pardir, os.path.relpath(file, base)) for file in elsewhere}
    return [outside.get(file, name) for file, name in zip(files, names, strict=True)]


def _with_given_parts(table: _Table, rows: Sequence[Row]) -> Listing:
    """Rows with the parts that a column gives; those of other values are left out."""
    if table.split is None:
        raise table.error(f"no column has the parts; name it with `split_column`, or draw them: {ADVICE}")
    column, values = table.header[table.split], Counter(row.value for row in rows)
    params, parts = table.params, dict[str, Part]()
    validation = params.validation_split
    if validation is not None:
        parts[_value(table, values, (validation,), "validation_split")] = "validation"
    train = (params.train_split,) if params.train_split is not None else TRAIN
    test = (params.test_split,) if params.test_split is not None else tuple(x for x in TEST if x != validation)
    parts[_value(table, values, train, "train_split")] = "train"
    parts[_value(table, values, test, "test_split")] = "test"
    if len(parts) < 2 + (validation is not None):
        raise table.error(f"the parts are to differ: column '{column}' has one value for two of them")
    others = {value: count for value, count in values.items() if value not in parts}
    notes = []
    if others:
        named = ", ".join(f"{count} '{quoted(value)}'" for value, count in sorted(others.items())[:6])
        hint = " (`validation_split` names rows to choose epochs by)" if {*others} & {*TEST} else ""
        notes.append(f"rows of no part are left out, by column '{column}': {named}{hint}")
    kept = [replace(row, part=parts[row.value]) for row in rows if row.value in parts]
    return Listing(kept, notes)


def _value(table: _Table, values: Counter[str], names: Sequence[str], parameter: str) -> str:
    """The value in the column of parts that a part has: the first of the names, in any case."""
    assert table.split is not None
    column = table.header[table.split]
    for name in names:
        matches = [value for value in values if value == name] or [v for v in values if v.lower() == name.lower()]
        if len(matches) > 1:
            raise table.error(f"'{matches[0]}' and '{matches[1]}' in column '{column}' differ in case alone")
        if matches:
            return matches[0]
    known = ", ".join(f"'{quoted(value)}'" for value, _ in values.most_common(6))
    wanted = f"'{names[0]}'"
    drawn = f", or draw the parts: {ADVICE}" if parameter == "test_split" else ""
    raise table.error(f"no row has {wanted} in column '{column}' (it has {known}); name one with `{parameter}`{drawn}")


def _check_classes(table: _Table, rows: Sequence[Row]) -> None:
    """Every class has images to train and to test on."""
    lines = {(row.label, row.part): row.line for row in reversed(rows)}
    for row in rows:
        for part in ("train", "test"):
            if (row.label, part) not in lines:
                problem = f"no row to {part} on has the label '{quoted(row.label)}'; add one, or take the class out"
                raise table.error(problem, row.line)
