"""The table of signs of failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from benchbench.errors import StoreError
from benchbench.plan import Plan
from benchbench.reports.signs import LIMITS, SIGNS, Finding, below, in_curve, not_a_number, weaker_teacher
from benchbench.reports.table import Entry, Table
from benchbench.store import Store


def diagnosis(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Runs that show a sign of failure, with the numbers that say so; None where nothing is found.

    The signs: a student far below the baseline, a teacher weaker than its student, unstable training, slow convergence,
    projector collapse, overfitting. The notes under the table say of those found when they count and what to try;
    every threshold is an attribute of `benchbench.reports.signs.Thresholds`.
    """
    rows = []
    for (data, student), block in results.groupby(["data", "student"], sort=False):
        for row, cells in block.groupby("row", sort=False):
            for finding, seeds in [*_of_runs(cells, store), *_of_means(cells, block)]:
                place = [str(row), str(data), str(student), SIGNS[finding.sign].name]
                rows.append((finding.sign, [Entry(text) for text in (*place, seeds, finding.evidence)]))
    if not rows:
        return None
    kinds = list(SIGNS)
    rows.sort(key=lambda each: kinds.index(each[0]))
    shown = dict.fromkeys(kind for kind, _ in rows)
    notes = [f"{SIGNS[kind].name}: {SIGNS[kind].rule}; try: {SIGNS[kind].advice}" for kind in shown]
    notes.append("signs, not verdicts: the evidence is of the seed that shows it most, or of means over seeds")
    columns = ["arm", "data", "student", "sign", "seeds", "evidence"]
    title = f"Signs of failure in {plan.suite.name}"
    return Table("diagnosis", title, columns, [entries for _, entries in rows], notes, labels=len(columns))


def _of_runs(cells: pd.DataFrame, store: Store) -> Iterator[tuple[Finding, str]]:
    """The strongest finding of each sign among an arm's seeds, and how many seeds show it."""
    found: dict[str, list[Finding]] = {}
    ended = cells[cells.status.isin(["done", "failed"])]
    for cell in ended.itertuples():
        for finding in _of_run(cell, store):
            found.setdefault(finding.sign, []).append(finding)
    for findings in found.values():
        yield max(findings, key=lambda finding: finding.strength), f"{len(findings)} of {len(ended)}"


def _of_run(cell: Any, store: Store) -> list[Finding]:
    if cell.status == "failed":
        finding = not_a_number(str(cell.reason))
        return [finding] if finding is not None else []
    folder = store.stage("cell", cell.key)
    try:
        record = folder.done()
    except StoreError:
        record = None
    validation = record["data"]["validation"] if record is not None else 0
    return in_curve(folder.read_curve(), int(cell.train_images), int(validation), float(cell.accuracy))


def _of_means(cells: pd.DataFrame, block: pd.DataFrame) -> Iterator[tuple[Finding, str]]:
    """An arm that distils against the arms without a teacher, and against its teacher."""
    done = cells[cells.status == "done"]
    if done.empty or done.method.iloc[0] != "distill":
        return
    accuracy, images = done.accuracy.mean(), done.test_images.mean()
    baselines = {method: _baseline(block, method) for method in ("finetune", "scratch")}
    least = {"finetune": LIMITS.far_below, "scratch": 0.0}
    findings = [
        below(name, mean, accuracy, images, least[method])
        for method, (name, mean) in baselines.items()
        if mean is not None
    ]
    teacher = done.teacher_accuracy.astype(float).mean()
    if not pd.isna(teacher):
        students = {"its student": accuracy}
        name, mean = baselines["scratch"]
        if mean is not None:
            students[f"the student alone ({name})"] = mean
        what = max(students, key=lambda each: students[each])
        findings.append(weaker_teacher(teacher, students[what], images, what))
    for finding in findings:
        if finding is not None:
            yield finding, f"mean of {len(done)}"


def _baseline(block: pd.DataFrame, method: str) -> tuple[str, float | None]:
    """The first arm of a method: its row and mean accuracy."""
    arm = block[(block.method == method) & (block.status == "done")]
    if arm.empty:
        return "", None
    row = arm["row"].iloc[0]
    return str(row), float(arm[arm["row"] == row].accuracy.mean())
