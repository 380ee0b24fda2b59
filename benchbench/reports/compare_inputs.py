"""Inputs of a comparison: a suite with its store, or the results.csv of an earlier report."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

from benchbench.errors import BenchBenchError, one_line
from benchbench.hardware.devices import find_devices
from benchbench.planning.expand import make_plan
from benchbench.plugins import load_suite_plugins
from benchbench.reports.columns import COLUMNS
from benchbench.reports.results import results_frame
from benchbench.specs.stages import StageSpec
from benchbench.store import Store
from benchbench.suite.file import load_suite
from benchbench.suite.shipped import suite_path

NEEDED = ("row", "data", "student", "seed", "status", "accuracy", "key")
TEXTS = ("row", "arm", "data", "student", "teacher", "adapt", "ladder", "status", "reason", "unit", "device", "key")


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: as on the command line.
        frame: one row per cell, columns as in `results.csv`.
        specs: known specs of stages, by key.
    """

    name: str
    frame: pd.DataFrame
    specs: Mapping[str, StageSpec]


def load_side(text: str, data_root: Path, plugins: tuple[Path, ...]) -> Side:
    """Reads SUITE.yaml, SUITE.yaml@STORE, results.csv or results.csv@STORE.

    Raises:
        BenchBenchError: there is no such file, or it is not what it should be.
    """
    path, _, store = (text, "", "") if Path(text).exists() or "@" not in text else text.rpartition("@")
    store = os.path.expanduser(store)
    if store and not Path(store, "store.json").is_file():
        raise BenchBenchError(f"{store} is no store: it has no store.json; write SUITE.yaml@STORE")
    if Path(path).suffix == ".csv":
        frame = read_results(Path(path))
        return Side(text, frame, _specs(Store(Path(store)), frame) if store else {})
    results = Store(Path(store or "runs"))
    results.check_format()
    file = load_suite(suite_path(path))
    registry = load_suite_plugins(file, plugins).registry
    plan = make_plan(file, registry, find_devices(), data_root)
    return Side(text, results_frame(plan, results), {key: stage.spec for key, stage in plan.stages.items()})


def read_results(path: Path) -> pd.DataFrame:
    """The results of an earlier report; columns that it lacks are empty.

    Raises:
        BenchBenchError: there is no such file, or it is no results.csv.
    """
    try:
        frame = results_table(path)
    except FileNotFoundError:
        raise BenchBenchError(f"{path} does not exist; give a suite file or a results.csv") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise BenchBenchError(f"{path} cannot be read as CSV ({one_line(error)[:200]})") from None
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise BenchBenchError(f"{path} is no results.csv of `benchbench report`: it has no column '{missing[0]}'")
    frame = frame.reindex(columns=list(COLUMNS))
    accuracy, seed, hours = (_numbers(frame[column]) for column in ("accuracy", "seed", "own_hours"))
    _refuse(
        frame, (frame.status == "done") & ~accuracy.between(0, 1), path, "accuracy is {accuracy}, not a number in 0..1"
    )
    _refuse(frame, ~(seed % 1 == 0), path, "seed is {seed}, not a whole number")
    _refuse(frame, frame.own_hours.notna() & hours.isna(), path, "own_hours is {own_hours}, not a number")
    repeated = frame.duplicated(["row", "data", "student", "seed"])
    _refuse(frame, repeated, path, "the same cell as in a line above; give a single report's file")
    return frame.assign(accuracy=accuracy, seed=seed, own_hours=hours)


def _numbers(column: pd.Series) -> pd.Series:
    """Floats; NaN for what is none, or beyond all floats."""

    def number(value: object) -> float:
        try:
            return float(str(value))
        except ValueError:
            return math.nan

    return column.map(number).astype(float)


def results_table(file: Path | IO[bytes]) -> pd.DataFrame:
    """The table of a results.csv, whose labels may be numbers, or words that pandas takes for missing values."""
    # Else a line with a field too many would make the first column the index.
    return pd.read_csv(file, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""], index_col=False)


def _refuse(frame: pd.DataFrame, wrong: pd.Series, path: Path, message: str) -> None:
    """Raises an error for the first wrong row; the message may name its columns in braces."""
    if wrong.any():
        row = wrong.idxmax()
        # Reasons may have lines of their own.
        breaks = frame.iloc[:row].map(lambda value: value.count("\n") if isinstance(value, str) else 0)
        line = row + 2 + int(breaks.to_numpy().sum())
        raise BenchBenchError(f"{path}:{line}: {message.format(**frame.loc[row])}")


def _specs(store: Store, frame: pd.DataFrame) -> dict[str, StageSpec]:
    """Specs of a store's cells, and of the teachers that they need."""
    store.check_format()
    cells = _read_specs(store, "cell", frame.key.dropna())
    needed = dict.fromkeys(key for spec in cells.values() for key in spec.needs.values())
    return cells | _read_specs(store, "teacher", needed)


def _read_specs(store: Store, kind: str, keys: Iterable[str]) -> dict[str, StageSpec]:
    folders = {key: store.stage(kind, key) for key in keys}
    return {key: folder.read_spec() for key, folder in folders.items() if folder.spec.exists()}
