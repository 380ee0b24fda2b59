"""Arms over all data sets and students: ranks, gains over pre-train + fine-tune, and performance profiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.verdicts import TOO_SMALL, p_text
from benchbench.statistics import aggregate
from benchbench.statistics.aggregate import Statistic, stratified_bootstrap
from benchbench.statistics.estimate import paired
from benchbench.statistics.noninferiority import holm

# Gains in points at which a profile is tabulated, beside 0 and the margin.
STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class RankedArms:
    """Arms that can be aggregated: those with runs in every group where the reference has any.

    Attributes:
        groups: those where pre-train + fine-tune has a run.
        reference: its runs in each group, in points.
        arms: the same of every row that has a run in all of them, the reference's own among them.
        left_out: the other rows, which cannot be ranked.
    """

    groups: list[Group]
    reference: list[np.ndarray]
    arms: dict[str, list[np.ndarray]]
    left_out: list[str]

    def is_reference(self, row: str) -> bool:
        return all(group.reference == row for group in self.groups)

    def size(self) -> str:
        """Its n, in words."""
        counts = [len(runs) for arm in self.arms.values() for runs in arm]
        fewest, most = min(counts, default=0), max(counts, default=0)
        n = f"{most}" if fewest == most else f"{fewest} to {most}"
        return f"{len(self.groups)} groups (data set x student), n = {n} of each arm in each"


def ranked_arms(results: pd.DataFrame) -> RankedArms | None:
    """The arms to aggregate; None where the suite has no arm that fine-tunes, or fewer than two groups."""
    all_groups = groups_of(results).values()
    if len(all_groups) < 2 or not any(group.reference for group in all_groups):
        return None
    groups = [group for group in all_groups if group[group.reference].n]
    runs = {row: [group[row].points for group in groups] for row in dict.fromkeys(results["row"])}
    arms = {row: each for row, each in runs.items() if groups and all(map(len, each))}
    reference = [group[group.reference].points for group in groups]
    return RankedArms(groups, reference, arms, [row for row in runs if row not in arms])


def ranking(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Mean rank, gain over pre-train + fine-tune and probability of improvement over all data sets and students.

    A group is a data set x student; an arm's mean over seeds is paired with the reference's in the same group.
    Interquartile mean and probability of improvement are those of Agarwal et al. 2021, over runs, with stratified
    bootstrap intervals from ten runs a group on. None for a suite of one group, or without an arm that fine-tunes.
    """
    arms = ranked_arms(results)
    if arms is None:
        return None
    alpha = plan.suite.statistics.alpha
    rows = [[Entry(text) for text in row] for row in _rows(arms, alpha)]
    rows += [[Entry(row), *[Entry("–")] * 5] for row in arms.left_out]
    columns = ["arm", "mean rank", "mean gain", "p", "IQM gain", "P(improvement)"]
    return Table(
        "ranking", f"Arms over all data sets and students of {plan.suite.name}", columns, rows, _notes(arms, alpha)
    )


def _rows(arms: RankedArms, alpha: float) -> list[list[str]]:
    if not arms.arms:
        return []
    means = {row: np.array([runs.mean() for runs in arm]) for row, arm in arms.arms.items()}
    reference = np.array([runs.mean() for runs in arms.reference])
    ranks = aggregate.mean_ranks(np.transpose(list(means.values())))
    others = [row for row in arms.arms if not arms.is_reference(row)]
    tests: dict[str, str] = dict.fromkeys(others, TOO_SMALL)
    if aggregate.wilcoxon_possible(len(arms.groups), alpha):
        adjusted = holm(np.array([aggregate.wilcoxon(means[row] - reference) for row in others]))
        tests = {row: p_text(p) for row, p in zip(others, adjusted, strict=True)}
    rows = []
    for (row, runs), rank in zip(arms.arms.items(), ranks, strict=True):
        texts = ["reference", "–", "reference", "–"]
        if row in tests:
            gain = _mean_gain(means[row], reference, arms, alpha)
            iqm = _with_bootstrap(aggregate.iqm_of_gains, runs, arms, alpha, "+.2f")
            better = _with_bootstrap(aggregate.improvement, runs, arms, alpha, ".2f")
            texts = [gain, tests[row], iqm, better]
        rows.append([row, f"{rank:.2f}", *texts])
    return rows


def _mean_gain(means: np.ndarray, reference: np.ndarray, arms: RankedArms, alpha: float) -> str:
    text = f"{(means - reference).mean():+.2f}"
    if len(means) < 2:
        return text
    low, high = paired(means, reference, max(group.resolution for group in arms.groups)).interval(1 - alpha)
    return f"{text} [{low:+.2f}, {high:+.2f}]"


def _with_bootstrap(statistic: Statistic, runs: list[np.ndarray], arms: RankedArms, alpha: float, form: str) -> str:
    text = f"{statistic(runs, arms.reference):{form}}"
    interval = stratified_bootstrap(statistic, runs, arms.reference, 1 - alpha)
    if interval is None or interval[0] == interval[1]:  # resamples that all agree show no error
        return text
    low, high = interval
    return f"{text} [{low:{form}}, {high:{form}}]"


def _notes(arms: RankedArms, alpha: float) -> list[str]:
    level = f"{100 * (1 - alpha):g} %"
    notes = [
        f"over {arms.size()}; mean rank: of the mean over seeds, 1 is best",
        f"mean gain: over pre-train + fine-tune in points, paired by group, with its {level} t-interval over groups: "
        "the variation over data sets and students, as far as these are a sample of them",
        "p: Wilcoxon's signed-rank test over the same pairs (two-sided, Holm over the arms), significant at "
        f"{alpha:g}; {TOO_SMALL}: with so few groups no result could be",
        "IQM gain: mean of the middle half of all runs' gains over the reference's mean in their group; "
        "P(improvement): that a run is better than one of the reference, ties counting half, mean over groups "
        f"(arXiv 2108.13264); both with {level} stratified bootstrap intervals from {aggregate.BOOTSTRAP_RUNS} runs "
        "on: with fewer they are too narrow",
    ]
    if arms.left_out:
        notes.append(f"–: no run in some group, so not ranked: {'; '.join(arms.left_out)}")
    return notes


def profiles(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Performance profiles: the share of an arm's runs that gain more than so many points over pre-train + fine-tune.

    Agarwal et al. 2021, section 4.2: the mean over groups of the share of runs above each threshold. None where
    `ranking` is.
    """
    arms = ranked_arms(results)
    if arms is None:
        return None
    steps = sorted({plan.suite.statistics.margin, *STEPS})
    thresholds = [*(-step for step in reversed(steps)), 0.0, *steps]
    rows = []
    for row, runs in arms.arms.items():
        # Means are sums of floats: without rounding an equal run may lie above the mean.
        gained = [group.round(9) for group in aggregate.gains(runs, arms.reference)]
        rows.append([Entry(row), *(Entry(f"{share:.2f}") for share in aggregate.profile(gained, thresholds))])
    rows += [[Entry(row), *[Entry("–")] * len(thresholds)] for row in arms.left_out]
    columns = ["arm", *(f"> {threshold:+g}" if threshold else "> 0" for threshold in thresholds)]
    notes = [
        "share of runs whose test accuracy lies more than so many points above the mean of pre-train + fine-tune in "
        f"their data set and student; mean over {arms.size()}; the margin is {plan.suite.statistics.margin:g} points "
        "(performance profiles, arXiv 2108.13264)"
    ]
    return Table("profiles", f"Performance profiles of {plan.suite.name}", columns, rows, notes)
