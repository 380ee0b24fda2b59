"""Ranks of losses that share a teacher, its state and a student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.summary import (
    accuracy_text,
    difference_note,
    difference_text,
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
    rows = []
    for (data, student, teacher, state), frame in compared.groupby(GROUP, sort=False):
        pair = [data, student] if labels else []
        arms = dict(zip(frame["arm"], frame["row"], strict=True))
        for arm, texts in _ranked(groups[data, student], arms, plan):
            rows.append([Entry(text) for text in (*pair, f"{teacher} ({state})", arm, loss_text(plan, arm), *texts)])
    alone = scratch_row(plan)
    columns = [*labels, "teacher", "arm", "loss", "rank", "test accuracy (%)", "over scratch"]
    notes = [
        "ranked by mean test accuracy (± standard deviation over n seeds) among the losses of one teacher, its state "
        "and a student; ranks ignore chance: see the intervals",
        f"over scratch: {difference_note(plan)} to '{alone}'" if alone else "–: no student is trained alone",
    ]
    return Table("losses", f"Losses ranked in {plan.suite.name}", columns, rows, notes, labels=len(labels) + 3)


def _ranked(group: Group, arms: Mapping[str, str], plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """Arms by rank, with rank, accuracy and gain; those without a finished run last.

    Args:
        group: with their runs.
        arms: rows of the tables by arm.
        plan: with the level of the intervals.
    """
    runs = {arm: group[row] for arm, row in arms.items()}
    means = {arm: round(100 * each.mean("accuracy"), 1) for arm, each in runs.items() if each.n}
    ranks = {arm: 1 + sum(other > mean for other in means.values()) for arm, mean in means.items()}
    alone = group[scratch_row(plan)]
    for arm in [*sorted(ranks, key=lambda arm: ranks[arm]), *(arm for arm in arms if arm not in ranks)]:
        gain = difference_text(runs[arm], alone, group.resolution, level_of(plan))
        yield arm, [str(ranks.get(arm, "–")), accuracy_text(runs[arm]), gain]


def loss_text(plan: Plan, arm: str) -> str:
    """An arm's losses as a sum: `ce + 0.5 kd (temperature 4)`."""
    terms = []
    for ref in plan.suite.arms[arm].loss:
        params = ", ".join(f"{name} {value}" for name, value in ref.params.items())
        terms.append(f"{'' if ref.weight == 1 else f'{ref.weight:g} '}{ref.name}{f' ({params})' if params else ''}")
    return " + ".join(terms)
