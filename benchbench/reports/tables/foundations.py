"""Costs behind each arm: its stages, shared and in full, and public pre-training, the teacher's if asked for."""

from __future__ import annotations

import math

import pandas as pd

from benchbench.planning.model import Cell, Plan
from benchbench.reports.groups import Runs, groups_of
from benchbench.reports.summary import finished, labels_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import number, pretraining_text

HOURS = (
    "own_hours",
    "shared_stage_hours",
    "stage_hours",
    "pretraining_hours",
    "pretraining_low_hours",
    "pretraining_high_hours",
    "teacher_pretraining_hours",
)
COLUMNS = [
    "own",
    "stages, shared",
    "stages, in full",
    "student's pre-training (est.)",
    "teacher's pre-training (est.)",
    "all, stages shared",
    "all, in full",
]


def foundations(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Device-hours of one run and of the stages that it needs, by arm; None before anything is done.

    Shared: a stage's cost divided by the runs of the suite that need it. In full: the cost of this one run alone, the
    pre-training of the teacher included where it was priced.
    """
    done = finished(results)
    if done.empty:
        return None
    labels = labels_of(results, "data", "student")
    rows = [
        [Entry(text) for text in (*(pair if labels else ()), row, *_texts(runs, plan.suite.price_teachers))]
        for pair, group in groups_of(results).items()
        for row, runs in group.rows.items()
    ]
    units = sorted(done.unit.unique())
    unit = units[0] if len(units) == 1 else "device-hours"
    title = f"Stages that one run of {plan.suite.name} needs, in {unit}"
    return Table("foundations", title, [*labels, "arm", *COLUMNS, "n"], rows, _notes(plan), len(labels) + 1)


def _texts(runs: Runs, priced: bool) -> list[str]:
    if not runs.n:
        return [runs.absent, *["–"] * len(COLUMNS)]
    own, shared, full, student, low, high, teacher = map(runs.mean, HOURS)
    span = f" [{number(low)}, {number(high)}]" if high > low else ""
    unpriced = math.isnan(teacher) and not priced
    texts = [number(own), number(shared), number(full), number(student) + span]
    texts.append("not priced" if unpriced else number(teacher))
    teacher = 0.0 if unpriced else teacher
    return [*texts, number(own + shared + student), number(own + full + student + teacher), str(runs.n)]


def _notes(plan: Plan) -> list[str]:
    notes = [
        "means over n seeds; stages: adapting and running the teacher, tuning; shared: divided by the runs of this "
        "suite that need them; in full: as for this one run alone, with the teacher's pre-training",
        "in brackets: the estimate at the throughput of the fastest and of the median step that was measured",
    ]
    if not plan.suite.price_teachers:
        return [*notes, "teachers' pre-training is taken as given; `price_teachers: true` estimates it too"]
    for cell in plan.cells:
        for teacher, (recipe, _) in zip(_priced_teachers(cell, plan), cell.teacher_pretraining, strict=True):
            note = f"pre-training of {teacher}: " + (pretraining_text(recipe) if recipe else "no recipe is known")
            notes += [note] if note not in notes else []
    return notes


def _priced_teachers(cell: Cell, plan: Plan) -> list[str]:
    """Labels of the teachers that `cell.teacher_pretraining` is of: the suite does not pre-train them itself."""
    if cell.state == "scratch":
        return []
    weights = {label: plan.suite.teachers[label].weights for label in cell.teachers}
    return [label for label, each in weights.items() if each is None or each.pretraining is None]
