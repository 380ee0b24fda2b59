"""Trials of each search, and the values that were chosen."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Cell, Plan
from benchbench.reports.summary import labels_of, trial_notes
from benchbench.reports.table import Entry, Table
from benchbench.specs.records import TrainingRecord
from benchbench.store import Store

COLUMNS = ["trials", "chosen", "validation (%)", "range over the trials"]


def search(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Number of trials, chosen values and validation accuracies of each row that was searched; None where none was."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in plan.cells:
        if cell.trials:
            groups.setdefault((cell.data, cell.student, cell.row), []).append(cell)
    if not groups:
        return None
    labels, rows = labels_of(results, "data", "student"), []
    for (data, student, row), cells in groups.items():
        pair = [data, student] if labels else []
        rows.append([Entry(text) for text in (*pair, row, *_texts(cells, store))])
    notes = [
        "every trial was run with every seed; the one with the best mean validation accuracy over them was tested, and "
        "no other was; range: the lowest and the highest of these means",
        *trial_notes(plan),
    ]
    return Table("search", f"Searches of {plan.suite.name}", [*labels, "arm", *COLUMNS], rows, notes, len(labels) + 1)


def _texts(cells: Sequence[Cell], store: Store) -> list[str]:
    """The texts of one row of the results, whose cells are of different seeds."""
    count, chosen = len(cells[0].trials), _chosen(cells, store)
    accuracies = [_mean_accuracy([cell.trials[index].stage for cell in cells], store) for index in range(count)]
    known = [each for each in accuracies if isinstance(each, float)]
    diverged = accuracies.count("diverged")
    number = str(count) + (f" ({diverged} diverged)" if diverged else "")
    if chosen is None:
        return [number, *["–"] * (len(COLUMNS) - 1)]
    best = accuracies[chosen]
    span = f"{100 * min(known):.1f} to {100 * max(known):.1f}" if known else "–"
    return [number, cells[0].trials[chosen].values, f"{100 * best:.1f}" if isinstance(best, float) else "–", span]


def _chosen(cells: Sequence[Cell], store: Store) -> int | None:
    """The number of the trial that the cells have chosen; None before one of them is done."""
    for cell in cells:
        record = _record("cell", cell.stage, store)
        for index, trial in enumerate(cell.trials):
            if record is not None and record.chosen is not None and record.chosen.key == trial.stage:
                return index
    return None


def _mean_accuracy(keys: Sequence[str], store: Store) -> float | str:
    """Mean validation accuracy of a trial over seeds, 0..1; "diverged", or "missing"."""
    records = [_record("trial", key, store) for key in keys]
    accuracies = [record.metrics.validation_accuracy for record in records if record is not None]
    known = [each for each in accuracies if each is not None]
    if len(known) < len(accuracies):
        return "diverged"
    return sum(known) / len(known) if len(known) == len(keys) else "missing"


def _record(kind: str, key: str, store: Store) -> TrainingRecord | None:
    try:
        record = store.stage(kind, key).done()
    except StoreError:
        return None
    return record if isinstance(record, TrainingRecord) else None
