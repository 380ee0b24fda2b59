"""Ranks of losses that share a teacher, its state and a student."""

from __future__ import annotations

import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.groups import groups_of
from benchbench.reports.summary import (
    accuracy_text,
    difference_note,
    difference_text,
    finished,
    labels_of,
    level_of,
    scratch_row,
)
from benchbench.reports.table import Entry, Table

GROUP = ["data", "student", "teacher", "adapt"]


def losses(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Every loss by mean test accuracy, where several share data, student, teacher and state; None where none do.

    Means that are equal as rounded share a rank.
    """
    distilled = results[results.method == "distill"]
    compared = distilled[distilled.groupby(GROUP, sort=False)["arm"].transform("nunique") > 1]
    if compared.empty:
        return None
    labels = labels_of(compared, "data", "student")
    groups = groups_of(results)
    alone = scratch_row(plan)
    rows = []
    for (data, student, teacher, state), frame in compared.groupby(GROUP, sort=False):
        group = groups[data, student]
        arms = dict(zip(frame["arm"], frame["row"], strict=True))
        means = finished(frame).groupby("arm", sort=False).accuracy.mean().astype(float).mul(100).round(1)
        ranks = means.rank(ascending=False, method="min").sort_values(kind="stable")
        for arm in [*ranks.index, *(arm for arm in arms if arm not in ranks.index)]:
            runs = group[arms[arm]]
            gain = difference_text(runs, group[alone], group.resolution, level_of(plan))
            texts = [*((data, student) if labels else ()), f"{teacher} ({state})", arm, loss_text(plan, arm)]
            texts += [f"{ranks[arm]:.0f}" if arm in ranks.index else "–", accuracy_text(runs), gain]
            rows.append([Entry(text) for text in texts])
    columns = [*labels, "teacher", "arm", "loss", "rank", "test accuracy (%)", "over scratch"]
    notes = [
        "ranked by mean test accuracy (± standard deviation over n seeds) among the losses of one teacher, its state "
        "and a student; ranks ignore chance: see the intervals",
        f"over scratch: {difference_note(plan)} to '{alone}'" if alone else "–: no student is trained alone",
    ]
    return Table("losses", f"Losses ranked in {plan.suite.name}", columns, rows, notes, labels=len(labels) + 3)


def loss_text(plan: Plan, arm: str) -> str:
    """An arm's losses as a sum: `ce + 0.5 kd (temperature 4)`."""
    terms = []
    for ref in plan.suite.arms[arm].loss:
        params = ", ".join(f"{name} {value}" for name, value in ref.params.items())
        terms.append(f"{'' if ref.weight == 1 else f'{ref.weight:g} '}{ref.name}{f' ({params})' if params else ''}")
    return " + ".join(terms)
