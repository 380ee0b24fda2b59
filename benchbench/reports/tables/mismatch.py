"""Pairs of teacher and student: gain of distillation beside what may explain it."""

from __future__ import annotations

import math

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Runs, groups_of
from benchbench.reports.summary import StudentsAlone, arm_name, difference_note, difference_text, labels_of, level_of
from benchbench.reports.table import Entry, Table

UNKNOWN = "n/a"
COLUMNS = ("teacher", "student", "arm", "gain", "parameters", "family", "CKA before", "CKA after", "n")
NOTES = (
    "parameters: of the teacher, divided by those of the student; family: the same or another, by the module of its "
    "library that defines an architecture, as timm.models.convnext",
    "CKA: linear, of the student's and the teacher's embeddings of the first test images (512 at most), before the "
    "first step and with the weights that were tested (Kornblith et al. 2019, biased estimator: compare rows, not with "
    "0); mean over seeds",
)


def mismatch(results: pd.DataFrame, plan: Plan) -> Table | None:
    """By pair and distilled arm: gain over the student alone, ratio of parameters, family, CKA before and after.

    None for a suite that distils with fewer than two teachers, or into fewer than two students.
    """
    distilled = results[results.method == "distill"]
    if distilled.teacher.nunique() < 2 or distilled.student.nunique() < 2:
        return None
    groups, alone, several = groups_of(results), StudentsAlone(plan), labels_of(results, "data")
    rows: list[list[Entry]] = []
    gains: dict[str, list[float]] = {"same": [], "other": []}
    by_pair = distilled.groupby(["teacher", "adapt", "student", "data", "row"], sort=False)
    for (teacher, state, student, data, row), cells in by_pair:
        group = groups[data, student]
        runs, family = group[row], _family(cells)
        reference = alone.beside(group, runs)
        if runs.n and reference.n and family in gains:
            gains[family].append(float(runs.points.mean() - reference.points.mean()))
        texts = [*([data] if several else []), f"{teacher} ({state})", student, arm_name(cells)]
        gain = difference_text(runs, reference, group.resolution, level_of(plan)) if reference.n else UNKNOWN
        rows.append([Entry(str(text)) for text in (*texts, *_texts(runs, gain, family, reference))])
    label = alone.label
    notes = [f"gain: {difference_note(plan)}, to '{label}'" if label else "no arm trains the student alone", *NOTES]
    if all(gains.values()):
        same, other = _mean_text(gains["same"]), _mean_text(gains["other"])
        notes.append(f"mean gain within a family: {same}; across families: {other}")
    title = f"Pairs of teacher and student in {plan.suite.name}"
    return Table("mismatch", title, [*several, *COLUMNS], rows, notes, labels=3 + len(several))


def _texts(runs: Runs, gain: str, family: str, reference: Runs) -> list[str]:
    if not runs.n:
        return [runs.absent, *[UNKNOWN] * 4, "0"]
    ratio = _number(_ratio(runs), ".1f")
    likeness = [_number(runs.mean(name), ".2f") for name in ("similarity_start", "similarity_end")]
    return [gain, ratio, family or UNKNOWN, *likeness, f"{runs.n} / {reference.n}"]


def _ratio(runs: Runs) -> float:
    """Parameters of the teacher, divided by those of the student."""
    return runs.mean("teacher_parameters") / runs.mean("parameters")


def _family(cells: pd.DataFrame) -> str:
    """True where student and teachers are of one family: "same" or "other"; empty where that is not known."""
    known = cells.dropna(subset=["family", "teacher_family"])
    if known.empty:
        return ""
    cell = known.iloc[0]
    return "same" if set(str(cell.teacher_family).split("+")) == {str(cell.family)} else "other"


def _number(value: float, form: str) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:{form}}"


def _mean_text(gains: list[float]) -> str:
    rows = f"{len(gains)} row" + "s" * (len(gains) > 1)
    return f"{sum(gains) / len(gains):+.1f} points ({rows})"
