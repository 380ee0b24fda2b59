"""Figures that others have published, beside the ones reproduced here."""

from __future__ import annotations

import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.table import Entry, Table
from benchbench.suite.schema import Published


def published(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Published and reproduced test accuracy (%) and their difference in points; None for a suite without `published`.

    A teacher's own accuracy is that of its adaptation in this suite.
    """
    if not plan.suite.published:
        return None
    done = results[results.status == "done"]
    rows = [
        [Entry(text) for text in row]
        for number, entry in enumerate(plan.suite.published, 1)
        for row in [*_teachers(entry, done, number), *_arms(entry, results, number)]
    ]
    columns = ["data", "network", "arm", "published", "reproduced", "difference", "source"]
    notes = [f"[{number}] {entry.source}" for number, entry in enumerate(plan.suite.published, 1)]
    notes.append("reproduced: mean ± standard deviation over n seeds; difference: reproduced - published, in points")
    title = f"Published and reproduced test accuracy (%) of {plan.suite.name}"
    return Table("published", title, columns, rows, notes, labels=3)


def _teachers(entry: Published, done: pd.DataFrame, number: int) -> list[list[str]]:
    rows = []
    for teacher, figure in entry.teachers.items():
        taught = done[(done.data == entry.data) & (done.teacher == teacher)].dropna(subset="teacher_accuracy")
        states = taught.drop_duplicates("adapt")
        for state, accuracy in zip(states.adapt, states.teacher_accuracy, strict=True):
            rows.append(_row(entry, teacher, f"teacher ({state})", figure, pd.Series([accuracy]), number))
        if states.empty:
            rows.append(_row(entry, teacher, "teacher", figure, pd.Series(dtype=float), number))
    return rows


def _arms(entry: Published, results: pd.DataFrame, number: int) -> list[list[str]]:
    rows = []
    for arm, figures in entry.accuracy.items():
        for student, figure in figures.items():
            here = results[(results.data == entry.data) & (results.student == student) & (results.arm == arm)]
            for row, cells in here.groupby("row", sort=False):
                accuracies = cells[cells.status == "done"].accuracy
                rows.append(_row(entry, student, str(row), figure, accuracies, number))
    return rows


def _row(entry: Published, network: str, arm: str, figure: float, accuracies: pd.Series, number: int) -> list[str]:
    reproduced = difference = "–"
    if len(accuracies):
        mean = 100 * accuracies.mean()
        spread = f" ± {100 * accuracies.std(ddof=1):.2f}" if len(accuracies) > 1 else ""
        reproduced, difference = f"{mean:.2f}{spread} (n={len(accuracies)})", f"{mean - figure:+.2f}"
    return [entry.data, network, arm, f"{figure:.2f}", reproduced, difference, f"[{number}]"]
