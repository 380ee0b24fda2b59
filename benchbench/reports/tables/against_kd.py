"""Every distilled arm against plain KD of the same teacher: for equally many epochs, and for equally many hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, Runs, groups_of
from benchbench.reports.summary import finished, labels_of, level_of, rows_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.crossings import Arm
from benchbench.reports.tables.losses import GROUP
from benchbench.statistics.estimate import Estimate, welch
from benchbench.statistics.noninferiority import holm

# Hours are measured, and those of equal work differ: an arm that took so little less than the shortest KD is its equal.
SLACK = 0.05


@dataclass(frozen=True)
class PlainKD:
    """The runs of plain KD, by length.

    Attributes:
        rows: of its rungs, or the only one.
        rungs: those with a finished run, from short to long.
    """

    rows: Sequence[str]
    rungs: Sequence[Runs]

    def as_long_as(self, runs: Runs) -> Runs | None:
        """The runs of as many epochs as some others."""
        return next((rung for rung in self.rungs if rung["epochs"][0] == runs["epochs"][0]), None)

    def points_at(self, hours: float) -> np.ndarray | None:
        """Accuracies at so many device-hours [seeds], straight between the rungs in the logarithm of their mean hours.

        None below the hours of the first rung, but for `SLACK`, or above those of the last. None where no seed is
        finished on all.
        """
        if len(self.rungs) < 2:
            return None
        line = Arm("KD", "distill", True, self.rungs).line("as given")
        if (1 - SLACK) * line.costs.min() <= hours:
            hours = max(hours, line.costs.min())
        if not line.costs.min() <= hours <= line.costs.max() or not len(line.seed_scores):
            return None
        order = np.argsort(line.costs)
        costs = np.log(line.costs[order])
        return np.array([np.interp(np.log(hours), costs, scores[order]) for scores in line.seed_scores])


def against_kd(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Each distilled arm against plain KD: the first arm whose losses are cross-entropy and `kd`, of the same teacher.

    If its recipe has several lengths, an arm is also compared with KD of as many hours as it took itself. None where a
    suite has no plain KD, or nothing beside it.
    """
    distilled = results[results.method == "distill"]
    labels = labels_of(distilled, "data", "student")
    groups, rows = groups_of(results), []
    for (data, student, teacher, state), frame in distilled.groupby(GROUP, sort=False):
        group = groups[data, student]
        kd = _plain_kd(frame, group, plan)
        if kd is None or not kd.rungs:
            continue
        others = {name: group[row] for row, _, name in rows_of(frame) if row not in kd.rows}
        start = [*([data, student] if labels else []), f"{teacher} ({state})"]
        rows += [[Entry(text) for text in (*start, *texts)] for texts in _compared(others, kd, group, level_of(plan))]
    if not rows:
        return None
    columns = [*labels, "teacher", "arm", "hours, × KD", "over KD, equal epochs", "over KD, equal hours"]
    title = f"Losses against KD in {plan.suite.name}"
    return Table("against_kd", title, columns, rows, _notes(results, plan), labels=len(labels) + 2)


def _plain_kd(frame: pd.DataFrame, group: Group, plan: Plan) -> PlainKD | None:
    """The first arm of plain KD, with all its lengths."""
    arms = {arm: plan.suite.arms[arm] for _, arm, _ in rows_of(frame)}
    losses = {label: {ref.name for ref in arm.loss} for label, arm in arms.items() if not (arm.synthetic or arm.start)}
    plain = next((arm for arm, names in losses.items() if names == {"ce", "kd"}), None)
    if plain is None:
        return None
    rows = [row for row, arm, _ in rows_of(frame) if arm == plain]
    rungs = [group[row] for row in rows if group[row].n and group[row]["own_hours"].min() > 0]
    return PlainKD(rows, sorted(rungs, key=lambda rung: rung["epochs"][0]))


def _compared(others: Mapping[str, Runs], kd: PlainKD, group: Group, level: float) -> list[list[str]]:
    """A row for each arm, the best at equal epochs first."""
    epochs, hours, ratios = {}, {}, {}
    others = {arm: runs for arm, runs in others.items() if runs.n}
    for arm, runs in others.items():
        same = kd.as_long_as(runs)
        if same is not None:
            epochs[arm] = runs.points, same.points
            ratios[arm] = f"{runs.mean('own_hours') / same.mean('own_hours'):.2f}"
        points = kd.points_at(runs.mean("own_hours"))
        if points is not None:
            hours[arm] = runs.points, points
    by_epochs, by_hours = (_texts(sides, group.resolution, level) for sides in (epochs, hours))
    order = sorted(others, key=lambda arm: -others[arm].points.mean())
    return [[arm, ratios.get(arm, "–"), by_epochs.get(arm, "–"), by_hours.get(arm, "–")] for arm in order]


def _texts(sides: Mapping[str, tuple[np.ndarray, np.ndarray]], resolution: float, level: float) -> dict[str, str]:
    """Differences with intervals and verdicts, by arm: `+1.2 [+0.4, +2.0] better`."""
    texts = {arm: f"{first.mean() - second.mean():+.1f}" for arm, (first, second) in sides.items()}
    estimates = {
        arm: welch(first, second, resolution)
        for arm, (first, second) in sides.items()
        if min(len(first), len(second)) > 1
    }
    for arm, verdict in zip(estimates, _verdicts(list(estimates.values()), level), strict=True):
        low, high = estimates[arm].interval(level)
        texts[arm] += f" [{low:+.1f}, {high:+.1f}] {verdict}"
    return texts


def _verdicts(estimates: Sequence[Estimate], level: float) -> list[str]:
    """By two-sided tests with Holm's correction: better, worse or open."""
    one_sided = [(float(each.p_above(0.0)), float(each.p_below(0.0))) for each in estimates]
    corrected = holm(np.array([2 * min(pair) for pair in one_sided])).tolist() if one_sided else []
    return [
        "open" if p > 1 - level else "better" if above < below else "worse"
        for p, (above, below) in zip(corrected, one_sided, strict=True)
    ]


def _notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    units = " or ".join(sorted(finished(results).unit.unique()))
    return [
        f"difference of the mean test accuracies in points, with its {100 * level_of(plan):g} % t-interval (Welch) "
        "over seeds; better, worse: by a two-sided test with Holm's correction over the arms of a column that share a "
        "teacher; else open",
        f"hours: {units} of one run, with the teacher taken as given; × KD: of plain KD for as many epochs",
        "equal hours: KD trained for as many hours as the arm took, between the lengths of KD in the suite, straight "
        f"in the logarithm of the hours; the shortest where the arm took up to {100 * SLACK:g} % less; –: outside of "
        "them, or KD has one length; the spread of hours does not count",
    ]
