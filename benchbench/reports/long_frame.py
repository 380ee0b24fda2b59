"""The results as one long table, one row per cell: chosen columns, and files of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchbench.errors import BenchBenchError, UnknownNameError, did_you_mean, one_line
from benchbench.reports.columns import COLUMNS, HIDDEN, type_of
from benchbench.reports.results import readable
from benchbench.reports.write import visible_texts
from benchbench.store import write_atomic

BRIEF = ("row", "data", "student", "seed", "status", "accuracy", "own_hours", "key")  # what fits a terminal
ALL = "all"
FORMATS = ("csv", "parquet", "json")


def long_frame(results: pd.DataFrame, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Some columns of the results, or all, each of one type.

    Args:
        results: as of a report.
        columns: names; none, or "all", are all columns but the bits of each test image.

    Raises:
        UnknownNameError: there is no such column.
    """
    names = [name for name in COLUMNS if name not in HIDDEN]
    names += [name for name in results if name not in COLUMNS]  # metrics of plugins
    for name in columns:
        if name not in (ALL, *names):
            raise UnknownNameError(f"no column '{name}'; {did_you_mean(name, names)}")
    frame = readable(results)
    numbers = {name: "float64" for name in names if type_of(name) == "number"}
    frame = frame.astype(numbers | {name: "string" for name in names if type_of(name) == "text"})
    return frame[names if not columns or ALL in columns else list(dict.fromkeys(columns))]


def format_of(path: Path) -> str:
    """The format of a file by its ending.

    Raises:
        BenchBenchError: it is none of `FORMATS`.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        endings = ", ".join(f".{each}" for each in FORMATS)
        raise BenchBenchError(f"{path}: the ending names the format, and is none of {endings}")
    return kind


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table to a file of the format that its ending names; the folder is made.

    Raises:
        BenchBenchError: there is no such format, or the file cannot be written.
    """
    kind = format_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _content(frame, kind))
    except OSError as error:
        raise BenchBenchError(f"cannot write {path} ({error.strerror or one_line(error)}); name another file") from None


def _content(frame: pd.DataFrame, kind: str) -> bytes:
    if kind == "csv":
        return visible_texts(frame).to_csv(index=False, lineterminator="\n").encode(errors="surrogateescape")
    if kind == "json":
        return json_text(frame).encode()
    stream = io.BytesIO()
    visible_texts(frame).to_parquet(stream, index=False)
    return stream.getvalue()


def json_text(frame: pd.DataFrame) -> str:
    """A list of rows as JSON; unknown values are null."""
    return str(frame.to_json(orient="records", indent=1))
