"""Gain of distillation over the student alone, by pair of teacher and student."""

from __future__ import annotations

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.summary import StudentsAlone, arm_name, difference_note, difference_text, level_of
from benchbench.reports.table import Entry, Table


def gains(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Teacher x student: accuracy above that of scratch, in points; None where there is one pair, or no scratch.

    Several losses on one pair are rows of their own, and a teacher in two states is two teachers.
    """
    distilled = results[results.method == "distill"]
    pairs = distilled[["teacher", "adapt", "student"]].drop_duplicates()
    alone = StudentsAlone(plan)
    if alone.label is None or len(pairs) < 2:
        return None
    groups = groups_of(results).values()
    rows = []
    lengths = distilled.epochs.where(distilled.ladder.notna(), 0)
    by_pair = distilled.groupby([distilled.teacher, distilled.adapt, distilled.arm, lengths], sort=False)
    for (teacher, state, *_), cells in by_pair:
        # A row of the other tables may stand for several teachers, each with a student of its own.
        row_of = {(cell.data, cell.student): cell.row for cell in cells.itertuples()}
        texts = [_gain(group, row_of.get((group.data, group.student)), alone, level_of(plan)) for group in groups]
        rows.append([Entry(text) for text in (f"{teacher} ({state})", arm_name(cells), *texts)])
    several = len({group.data for group in groups}) > 1
    columns = [f"{group.data}, {group.student}" if several else group.student for group in groups]
    notes = [f"{difference_note(plan)}, to '{alone.label}'; n: runs of the pair / of the student alone"]
    title = f"Gain of distillation over the student alone in {plan.suite.name}"
    return Table("gains", title, ["teacher", "arm", *columns], rows, notes, labels=2)


def _gain(group: Group, row: str | None, alone: StudentsAlone, level: float) -> str:
    runs = group[row]
    reference = alone.beside(group, runs)
    if not runs.n or not reference.n:
        return "–" if runs.n else runs.absent
    return f"{difference_text(runs, reference, group.resolution, level)} (n={runs.n}/{reference.n})"
