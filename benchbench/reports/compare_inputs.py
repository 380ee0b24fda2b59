"""What may be compared: a suite with its store, or the results.csv of an earlier report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchbench.errors import BenchBenchError, one_line
from benchbench.hardware.devices import find_devices
from benchbench.plan.expand import make_plan
from benchbench.plugins import load_plugins
from benchbench.reports.results import COLUMNS, results_frame
from benchbench.store import Store, read_json
from benchbench.suite.file import load_suite

NEEDED = ("row", "data", "student", "seed", "status", "accuracy", "key")


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: as it was given.
        frame: a row a cell, columns as in `results.csv`.
        jobs: what is known of stages, by key.
    """

    name: str
    frame: pd.DataFrame
    jobs: Mapping[str, dict[str, Any]]


def load_side(text: str, data_root: Path, plugins: tuple[Path, ...]) -> Side:
    """Reads SUITE.yaml, SUITE.yaml@STORE, results.csv or results.csv@STORE.

    Raises:
        BenchBenchError: there is no such file, or it is not what it should be.
    """
    path, _, store = (text, "", "") if Path(text).exists() or "@" not in text else text.rpartition("@")
    if store and not Path(store, "store.json").is_file():
        raise BenchBenchError(f"{store} is no store: it has no store.json; write SUITE.yaml@STORE")
    if Path(path).suffix == ".csv":
        return _from_csv(text, Path(path), Store(Path(store)) if store else None)
    kept = Store(Path(store or "runs"))
    kept.check_format()
    file = load_suite(Path(path))
    plan = make_plan(file, load_plugins([*file.plugin_files(), *plugins]), find_devices(), data_root)
    return Side(text, results_frame(plan, kept), {key: stage.job for key, stage in plan.stages.items()})


def _from_csv(name: str, path: Path, store: Store | None) -> Side:
    try:
        frame = pd.read_csv(path, dtype={column: str for column in ("row", "data", "student", "status", "key")})
    except FileNotFoundError:
        raise BenchBenchError(f"{path} does not exist; give a suite file or a results.csv") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise BenchBenchError(f"{path} cannot be read as CSV ({one_line(error)[:200]})") from None
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise BenchBenchError(f"{path} is no results.csv of `benchbench report`: it has no column '{missing[0]}'")
    frame = frame.reindex(columns=list(COLUMNS))
    accuracy = pd.to_numeric(frame.accuracy, errors="coerce")
    wrong = frame.index[(frame.status == "done") & ~accuracy.between(0, 1)]
    if len(wrong):
        raise BenchBenchError(f"{path}:{wrong[0] + 2}: accuracy is {frame.accuracy[wrong[0]]}, not a number in 0..1")
    seeds = pd.to_numeric(frame.seed, errors="coerce")
    wrong = frame.index[~(seeds % 1 == 0)]
    if len(wrong):
        raise BenchBenchError(f"{path}:{wrong[0] + 2}: seed is {frame.seed[wrong[0]]}, not a whole number")
    twice = frame.index[frame.duplicated(["row", "data", "student", "seed"])]
    if len(twice):
        raise BenchBenchError(f"{path}:{twice[0] + 2}: the same cell as in a line above; give a single report's file")
    return Side(name, frame.assign(accuracy=accuracy, seed=seeds), _jobs(store, frame) if store else {})


def _jobs(store: Store, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The jobs of a store's cells, and of what they stand on."""
    store.check_format()
    jobs: dict[str, dict[str, Any]] = {}
    for key in frame.key.dropna():
        spec = store.stage("cell", key).spec
        if spec.exists():
            jobs[key] = read_json(spec)["job"]
            for needed in jobs[key]["needs"].values():
                below = store.stage("teacher", needed).spec
                if needed not in jobs and below.exists():
                    jobs[needed] = read_json(below)["job"]
    return jobs
