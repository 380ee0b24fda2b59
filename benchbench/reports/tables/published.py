"""Published accuracies, beside the ones reproduced here."""

from __future__ import annotations

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.table import Entry, Table
from benchbench.suite.reporting import Published


def published(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Published and reproduced test accuracy (%) and their difference in points; None for a suite without `published`.

    A teacher's own accuracy is that of its adaptation in this suite.
    """
    if not plan.suite.published:
        return None
    done = results[results.status == "done"]
    rows = [
        [Entry(text) for text in (*row, f"[{index}]")]
        for index, entry in enumerate(plan.suite.published, 1)
        for row in [*_teachers(entry, done), *_arms(entry, results)]
    ]
    columns = ["data", "network", "arm", "published", "reproduced", "difference", "source"]
    notes = [f"[{index}] {entry.source}" for index, entry in enumerate(plan.suite.published, 1)]
    notes.append("reproduced: mean ± standard deviation over n seeds; difference: reproduced - published, in points")
    title = f"Published and reproduced test accuracy (%) of {plan.suite.name}"
    return Table("published", title, columns, rows, notes, labels=3)


def _teachers(entry: Published, done: pd.DataFrame) -> list[list[str]]:
    rows = []
    for teacher, accuracy in entry.teachers.items():
        cells = done[(done.data == entry.data) & (done.teacher == teacher)].dropna(subset="teacher_accuracy")
        states = cells.drop_duplicates("adapt")
        for state, reproduced in zip(states.adapt, states.teacher_accuracy, strict=True):
            rows.append([entry.data, teacher, f"teacher ({state})", *_texts(accuracy, pd.Series([reproduced]))])
        if states.empty:
            rows.append([entry.data, teacher, "teacher", *_texts(accuracy, pd.Series(dtype=float))])
    return rows


def _arms(entry: Published, results: pd.DataFrame) -> list[list[str]]:
    rows = []
    for arm, accuracies in entry.accuracy.items():
        for student, accuracy in accuracies.items():
            cells = results[(results.data == entry.data) & (results.student == student) & (results.arm == arm)]
            for row, runs in cells.groupby("row", sort=False):
                reproduced = runs[runs.status == "done"].accuracy
                rows.append([entry.data, student, str(row), *_texts(accuracy, reproduced)])
    return rows


def _texts(published: float, accuracies: pd.Series) -> list[str]:
    """Published and reproduced accuracy, and their difference."""
    if not len(accuracies):
        return [f"{published:.2f}", "–", "–"]
    mean = 100 * accuracies.mean()
    spread = f" ± {100 * accuracies.std(ddof=1):.2f}" if len(accuracies) > 1 else ""
    return [f"{published:.2f}", f"{mean:.2f}{spread} (n={len(accuracies)})", f"{mean - published:+.2f}"]
