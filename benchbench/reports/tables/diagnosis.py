"""The table of signs of failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.diagnosis_rules import (
    LIMITS,
    SIGNS,
    Finding,
    below,
    in_curve,
    not_a_number,
    weaker_teacher,
)
from benchbench.store import Store


def diagnosis(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Runs that show a sign of failure, with the numbers that say so; None where nothing is found.

    The signs: a student far below the baseline, a teacher weaker than its student, unstable training, slow convergence,
    projector collapse, overfitting. The notes under the table say of those found when they count and what to try;
    every threshold is an attribute of `benchbench.reports.tables.diagnosis_rules.Thresholds`.
    """
    rows = []
    names = ["row", "method", "status", "reason", "key", "accuracy", "train_images", "validation_images", "test_images"]
    for (data, student), block in results.groupby(["data", "student"], sort=False):
        cells = _cells(block, [*names, "teacher_accuracy"])
        for row, ours in cells.items():
            for finding, seeds in [*_of_runs(ours, store), *_of_means(ours, cells)]:
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


Cell = dict[str, Any]


def _cells(block: pd.DataFrame, names: list[str]) -> dict[str, list[Cell]]:
    """The cells of a data set and student by their row of the tables, each with some columns of the results."""
    found: dict[str, list[Cell]] = {}
    for values in zip(*(block[name].tolist() for name in names), strict=True):
        cell = dict(zip(names, values, strict=True))
        found.setdefault(cell["row"], []).append(cell)
    return found


def _of_runs(cells: list[Cell], store: Store) -> Iterator[tuple[Finding, str]]:
    """The strongest finding of each sign among an arm's seeds, and how many seeds show it."""
    found: dict[str, list[Finding]] = {}
    ended = [cell for cell in cells if cell["status"] in ("done", "failed")]
    for cell in ended:
        for finding in _of_run(cell, store):
            found.setdefault(finding.sign, []).append(finding)
    for findings in found.values():
        yield max(findings, key=lambda finding: finding.strength), f"{len(findings)} of {len(ended)}"


def _of_run(cell: Cell, store: Store) -> list[Finding]:
    if cell["status"] == "failed":
        finding = not_a_number(str(cell["reason"]))
        return [finding] if finding is not None else []
    curve = store.stage("cell", cell["key"]).read_curve()
    return in_curve(curve, int(cell["train_images"]), int(cell["validation_images"]), float(cell["accuracy"]))


def _of_means(cells: list[Cell], block: dict[str, list[Cell]]) -> Iterator[tuple[Finding, str]]:
    """An arm that distils against the arms without a teacher, and against its teacher."""
    done = [cell for cell in cells if cell["status"] == "done"]
    if not done or done[0]["method"] != "distill":
        return
    accuracy, images = _mean(done, "accuracy"), _mean(done, "test_images")
    baselines = {method: _baseline(block, method) for method in ("finetune", "scratch")}
    least = {"finetune": LIMITS.far_below, "scratch": 0.0}
    findings = [
        below(name, mean, accuracy, images, least[method])
        for method, (name, mean) in baselines.items()
        if mean is not None
    ]
    taught = [cell for cell in done if not pd.isna(cell["teacher_accuracy"])]
    if taught:
        students = {"its student": accuracy}
        name, mean = baselines["scratch"]
        if mean is not None:
            students[f"the student alone ({name})"] = mean
        what = max(students, key=lambda each: students[each])
        findings.append(weaker_teacher(_mean(taught, "teacher_accuracy"), students[what], images, what))
    for finding in findings:
        if finding is not None:
            yield finding, f"mean of {len(done)}"


def _baseline(block: dict[str, list[Cell]], method: str) -> tuple[str, float | None]:
    """The first arm of a method that has a finished run: its row and mean accuracy."""
    for row, cells in block.items():
        done = [cell for cell in cells if cell["status"] == "done" and cell["method"] == method]
        if done:
            return row, _mean(done, "accuracy")
    return "", None


def _mean(cells: list[Cell], name: str) -> float:
    return float(np.mean([float(cell[name]) for cell in cells]))
