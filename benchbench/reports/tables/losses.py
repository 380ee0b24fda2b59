"""Ranks of losses that share a teacher, its state and a student."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.summary import (
    StudentsAlone,
    accuracy_text,
    difference_note,
    difference_text,
    labels_of,
    level_of,
    rows_of,
)
from benchbench.reports.table import Entry, Table

GROUP = ["data", "student", "teacher", "adapt"]


def losses(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Every loss by mean test accuracy, where several share data, student, teacher and state; None where none do.

    Means that are equal as rounded share a rank. Lengths of an arm are ranked apart.
    """
    distilled = results[results.method == "distill"]
    compared = distilled[distilled.groupby(GROUP, sort=False)["arm"].transform("nunique") > 1]
    if compared.empty:
        return None
    labels = labels_of(compared, "data", "student")
    groups, alone = groups_of(results), StudentsAlone(plan)
    rows = []
    for (data, student, teacher, state), frame in compared.groupby(GROUP, sort=False):
        pair = [data, student] if labels else []
        for row in _ranked(groups[data, student], frame, alone, plan):
            rows.append([Entry(text) for text in (*pair, f"{teacher} ({state})", *row)])
    columns = [*labels, "teacher", "arm", "loss", "rank", "test accuracy (%)", "over scratch"]
    notes = [
        "ranked by mean test accuracy (± standard deviation over n seeds) among the losses of one teacher, its state "
        "and a student; ranks ignore chance: see the intervals",
        f"over scratch: {difference_note(plan)} to '{alone.label}', of as many epochs where it has several lengths"
        if alone.label
        else "–: no student is trained alone",
    ]
    return Table("losses", f"Losses ranked in {plan.suite.name}", columns, rows, notes, labels=len(labels) + 3)


def _ranked(group: Group, frame: pd.DataFrame, alone: StudentsAlone, plan: Plan) -> Iterator[list[str]]:
    """Arms by rank, with their losses, rank, accuracy and gain; those without a finished run last.

    Args:
        group: with their runs.
        frame: their rows of the results.
        alone: the students alone.
        plan: with the level of the intervals.
    """
    arms = {row: (arm, name) for row, arm, name in rows_of(frame)}
    means = {row: round(100 * group[row].mean("accuracy"), 1) for row in arms if group[row].n}
    ranks = {row: 1 + sum(other > mean for other in means.values()) for row, mean in means.items()}
    for row in [*sorted(ranks, key=lambda row: ranks[row]), *(row for row in arms if row not in ranks)]:
        (arm, name), runs = arms[row], group[row]
        gain = difference_text(runs, alone.beside(group, runs), group.resolution, level_of(plan))
        yield [name, loss_text(plan, arm), str(ranks.get(row, "–")), accuracy_text(runs), gain]


def loss_text(plan: Plan, arm: str) -> str:
    """An arm's losses as a sum: `ce + 0.5 kd (temperature 4)`."""
    terms = []
    for ref in plan.suite.arms[arm].loss:
        params = ", ".join(f"{name} {value}" for name, value in ref.params.items())
        terms.append(f"{'' if ref.weight == 1 else f'{ref.weight:g} '}{ref.name}{f' ({params})' if params else ''}")
    return " + ".join(terms)
