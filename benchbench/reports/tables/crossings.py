"""Crossings of two ladders' lines, in accuracy against device-hours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, Runs, groups_of
from benchbench.reports.run_hours import ACCOUNTING_NOTE, ACCOUNTINGS, Accounting, arm_names, run_hours, unknown_hours
from benchbench.reports.summary import finished, hours_text, labels_of, level_of
from benchbench.reports.table import Entry, Table
from benchbench.statistics.crossing import RESAMPLES, Comparison, Crossing, Ladder, compare_ladders


@dataclass(frozen=True)
class Arm:
    """One arm of a group: its rungs, or its only row.

    Attributes:
        name: of the ladder, or of the row.
        method: of the arm.
        is_ladder: whether its recipe has several lengths.
        rungs: those with a finished run, from short to long.
    """

    name: str
    method: str
    is_ladder: bool
    rungs: Sequence[Runs]

    @property
    def has_line(self) -> bool:
        return self.is_ladder and len(self.rungs) > 1

    @property
    def seeds(self) -> list[float]:
        """Seeds that are finished on every rung."""
        return reduce(np.intersect1d, [runs["seed"] for runs in self.rungs]).tolist() if self.rungs else []

    def line(self, accounting: Accounting) -> Ladder:
        """Its rungs in hours and percent."""
        hours = [run_hours(runs, accounting) for runs in self.rungs]
        places = [np.flatnonzero(np.isin(runs["seed"], self.seeds)) for runs in self.rungs]
        order = [index[np.argsort(runs["seed"][index])] for runs, index in zip(self.rungs, places, strict=True)]
        return Ladder(
            costs=np.array([each.mean() for each in hours]),
            scores=np.array([runs.points.mean() for runs in self.rungs]),
            seed_costs=np.stack([each[index] for each, index in zip(hours, order, strict=True)], 1),
            seed_scores=np.stack([runs.points[index] for runs, index in zip(self.rungs, order, strict=True)], 1),
        )


@dataclass(frozen=True)
class Pair:
    """A distilled ladder and the one that it is compared with.

    Attributes:
        group: of both.
        arm, reference: the ladders.
        accounting: of their hours.
        comparison: the distilled one is the first.
    """

    group: Group
    arm: Arm
    reference: Arm
    accounting: Accounting
    comparison: Comparison

    def leader(self, first_leads: bool | None) -> str:
        return "neither" if first_leads is None else self.arm.name if first_leads else self.reference.name


def arms_of(group: Group, results: pd.DataFrame) -> list[Arm]:
    """The arms of a group that have a finished run of more than 0 hours, in the suite's order."""
    names = dict(zip(results["row"], arm_names(results), strict=True))
    rows: dict[str, list[str]] = {}
    for row in group.rows:
        rows.setdefault(names[row], []).append(row)
    arms = []
    for name, members in rows.items():
        each = [group[row] for row in members if group[row].n and group[row]["own_hours"].min() > 0]
        if each:
            arms.append(Arm(name, each[0].method, members != [name], sorted(each, key=lambda r: r["epochs"][0])))
    return arms


def pairs_of(group: Group, arms: Sequence[Arm], accounting: Accounting, level: float) -> list[Pair]:
    """Every distilled ladder against the first that fine-tunes; without one, against the first from scratch."""
    lines = [arm for arm in arms if arm.has_line]
    references = [arm for arm in lines if not arm.rungs[0].goes_on]
    ordered = [arm for method in ("finetune", "scratch") for arm in references if arm.method == method]
    if not ordered:
        return []
    reference = ordered[0]
    other = reference.line(accounting)
    return [
        Pair(group, arm, reference, accounting, compare_ladders(arm.line(accounting), other, level))
        for arm in lines
        if arm.method == "distill"
    ]


def crossings(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Crossings of each distilled ladder with the one that fine-tunes, or the ladder that is ahead throughout.

    Accuracy against the device-hours of one run, straight between the rungs in the logarithm of the hours; where no
    ladder fine-tunes, against the first from scratch. None where there is no such pair of ladders with two finished
    rungs each.
    """
    groups = [(group, arms_of(group, results)) for group in groups_of(results).values()]
    pairs = [
        pair
        for group, arms in groups
        for accounting in ACCOUNTINGS
        for pair in pairs_of(group, arms, accounting, level_of(plan))
    ]
    if not pairs:
        return None
    labels = labels_of(results, "data", "student")
    rows = []
    for pair in pairs:
        place = (pair.group.data, pair.group.student) if labels else ()
        start = [*place, pair.arm.name, pair.reference.name, pair.accounting]
        seeds = f"{len(pair.arm.seeds)} / {len(pair.reference.seeds)}"
        rows += [[Entry(text) for text in (*start, *texts, seeds)] for texts in _texts(pair)]
    columns = [*labels, "arm", "against", "hours counted", "ahead first", "crossing", "accuracy there", "ahead then"]
    title = f"Hours at which distillation and training without a teacher are equally good, in {plan.suite.name}"
    return Table("crossings", title, [*columns, "resamples", "n"], rows, _notes(results, plan), len(labels) + 3)


def _texts(pair: Pair) -> list[list[str]]:
    """A line for each crossing, or one for none: ahead first, crossing, accuracy, ahead then, share of resamples."""
    comparison = pair.comparison
    if math.isnan(comparison.low):
        return [["no hours in common", "–", "–", "–", "–"]]
    if not comparison.crossings:
        leader = pair.leader(comparison.first_leads)
        reach = f"none from {hours_text(comparison.low)} to {hours_text(comparison.high)}"
        return [[leader, reach, "–", leader, _share(comparison.share)]]
    return [
        [
            pair.leader(not crossing.first_leads),
            crossing_text(crossing),
            _accuracy(crossing),
            pair.leader(crossing.first_leads),
            _share(crossing.share),
        ]
        for crossing in comparison.crossings
    ]


def crossing_text(crossing: Crossing) -> str:
    """Its hours with their interval: `4.00 [3.20, open]`."""
    if math.isnan(crossing.low):
        return hours_text(crossing.cost)
    low, high = ("open" if math.isinf(end) else hours_text(end) for end in (crossing.low, crossing.high))
    return f"{hours_text(crossing.cost)} [{low}, {high}]"


def _accuracy(crossing: Crossing) -> str:
    interval = f" [{crossing.score_low:.1f}, {crossing.score_high:.1f}]" if not math.isnan(crossing.score_low) else ""
    return f"{crossing.score:.1f}{interval}"


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def interval_note(plan: Plan) -> str:
    """Meaning of the interval of a crossing."""
    return (
        f"its {100 * level_of(plan):g} % interval: bootstrap over the seeds that are finished on every rung, drawn "
        f"alike for all rungs ({RESAMPLES:,} resamples of fixed random numbers, widened for few seeds); open: on that "
        "side too many of the resamples do not cross in the hours that both arms cover"
    )


def _notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    units = " or ".join(sorted(finished(results).unit.unique()))
    return [
        f"test accuracy (%) against {units} of one run; lines are straight between the rungs' means in the logarithm "
        "of the hours, and compared in the hours that both arms cover; none: one arm is ahead throughout",
        ACCOUNTING_NOTE,
        *unknown_hours(results),
        f"in brackets {interval_note(plan)}; that of the accuracy is over those that do",
        "resamples: share with a crossing in the same direction, or with the same arm ahead throughout; n: those seeds "
        "of the arm / of the other",
    ]
