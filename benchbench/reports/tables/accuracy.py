"""The accuracy table."""

from __future__ import annotations

import math

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.planning.tasks import TASK_METRICS
from benchbench.reports.answer_metrics import metric_words
from benchbench.reports.groups import Group, Runs, groups_of
from benchbench.reports.summary import accuracy_text, level_of, trial_notes
from benchbench.reports.table import Entry, Table
from benchbench.statistics.estimate import mean


def accuracy(results: pd.DataFrame, plan: Plan) -> Table:
    """Mean test accuracy with its standard deviation over seeds (ddof = 1) and n; the best of a column is bold.

    With it every mean within its t-interval, at the level of the suite's `statistics`, where it has three runs or
    more: below that the interval is wider than any difference. Means that are equal as rounded are bold together.
    """
    groups = groups_of(results).values()
    bounds = [_lowest_bold_mean(group, level_of(plan)) for group in groups]
    rows = [
        [Entry(row), *(_entry(group[row], bound) for group, bound in zip(groups, bounds, strict=True))]
        for row in dict.fromkeys(results["row"])
    ]
    columns = ["arm", *(f"{group.data}, {group.student}" for group in groups)]
    return Table("accuracy", f"Test accuracy (%) of {plan.suite.name}", columns, rows, _notes(results, plan))


def _lowest_bold_mean(group: Group, level: float) -> float:
    """The lowest rounded mean (%) that is bold."""
    finished = [runs for runs in group.rows.values() if runs.n]
    if not finished:
        return math.inf
    best = max(finished, key=lambda runs: runs.mean("accuracy"))
    if best.n < 3:
        return _rounded_mean(best)
    low, _ = mean(best.points).interval(level)
    # Rounded up, so that no mean below the interval is bold; the best itself always is.
    return min(math.ceil(10 * low) / 10, _rounded_mean(best))


def _rounded_mean(runs: Runs) -> float:
    """A mean (%) as in the table."""
    return round(100 * runs.mean("accuracy"), 1)


def _entry(runs: Runs, bound: float) -> Entry:
    return Entry(accuracy_text(runs), bold=runs.n > 0 and _rounded_mean(runs) >= bound)


def _notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    done = results[results.status == "done"]
    level = f"{100 * (1 - plan.suite.statistics.alpha):g} %"
    notes = [
        "mean ± standard deviation over n seeds (ddof = 1); the test split is read once per cell",
        f"bold: the best mean of a column and all means within its {level} t-interval, from n = 3 on",
    ]
    if not done.empty:
        sets = done.drop_duplicates("data")[["data", "train_images", "test_images"]]
        texts = [f"{r.data}: {r.train_images:.0f} training, {r.test_images:.0f} test images" for r in sets.itertuples()]
        notes.append("; ".join(texts))
        teachers = done.dropna(subset="teacher_accuracy").drop_duplicates(["data", "teacher", "adapt"])
        if not teachers.empty:
            texts = [
                f"{r.teacher} ({r.adapt}) on {r.data} {100 * r.teacher_accuracy:.1f}" for r in teachers.itertuples()
            ]
            measure = metric_words(TASK_METRICS[plan.task][0])  # also where the suite is about another metric
            notes.append(f"teachers' {measure}: {'; '.join(texts)}")
    return notes + trial_notes(plan)
