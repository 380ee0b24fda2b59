"""Time that a distilled student saves against one that is pre-trained and fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Runs, groups_of
from benchbench.reports.summary import hours_text, labels_of, level_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.gpu_hours import trained_hours
from benchbench.statistics.estimate import Estimate

UNKNOWN = (math.nan, math.nan, math.nan)


def savings(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Device-hours of each distilled arm against pre-train + fine-tune, with intervals; None for a suite without both.

    The reference is the first arm of a data set and student that fine-tunes pre-trained weights: its training alone,
    and with the pre-training of its weights. Both sides have their share of the stages that they need, such as the
    teacher's adaptation.
    """
    groups = groups_of(results)
    references = list(dict.fromkeys(group.reference for group in groups.values() if group.reference))
    if not (results.method == "distill").any() or not references:
        return None
    labels = labels_of(results, "data", "student")
    rows = []
    for pair, group in groups.items():
        for row in group.rows_by_method("distill"):
            texts = [row, *_texts(group[row], group[group.reference], level_of(plan))]
            rows.append([Entry(text) for text in (*(pair if labels else ()), *texts)])
    columns = [*labels, "arm", "device-hours", "against fine-tune", "against pre-train + fine-tune", "n"]
    title = f"Training time saved by distillation against {' / '.join(references)} in {plan.suite.name}"
    bases = sorted({group[group.reference].basis() for group in groups.values()} - {""})
    notes = _notes(references, " or ".join(bases) or "estimated", level_of(plan))
    return Table("savings", title, columns, rows, notes, len(labels) + 1)


def _texts(runs: Runs, reference: Runs, level: float) -> list[str]:
    if not runs.n:
        return [runs.absent, "–", "–", "–"]
    pretraining = reference.mean("pretraining_hours")
    texts = [saving_text(cost_ratio(runs, reference, added, level)) for added in (0.0, pretraining)]
    return [hours_text(trained_hours(runs)), *texts, f"{runs.n} / {reference.n}"]


def cost_ratio(runs: Runs, reference: Runs, added: float, level: float) -> tuple[float, float, float]:
    """Ratio of the mean `trained_hours` of some cells to that of others, and the ends of its interval.

    First-order error propagation on the logarithm of the ratio (the delta method), with Student's t at the degrees of
    freedom of F. E. Satterthwaite 1946; shares of stages and added hours have no spread. The ends are NaN where either
    side has one run alone, all three where one has none.

    Args:
        runs, reference: both sides.
        added: hours to add to the reference, as for its pre-training; NaN where they are not known.
        level: of the interval, 0..1.
    """
    if not runs.n or not reference.n or math.isnan(added):
        return UNKNOWN
    costs = trained_hours(runs), trained_hours(reference) + added
    value = costs[0] / costs[1]
    own_hours = runs["own_hours"], reference["own_hours"]
    if min(map(len, own_hours)) < 2:
        return value, math.nan, math.nan
    # Squared relative errors of the two means.
    parts = [own.var(ddof=1) / len(own) / cost**2 for own, cost in zip(own_hours, costs, strict=True)]
    spread = sum(parts)
    df = spread**2 / sum(p**2 / (len(own) - 1) for p, own in zip(parts, own_hours, strict=True)) if spread else math.inf
    low, high = Estimate(math.log(value), math.sqrt(spread), df).interval(level)
    return value, math.exp(low), math.exp(high)


def saving_text(ratio: tuple[float, float, float]) -> str:
    """A ratio of costs and its interval in words: `94.0 % less [93.1, 94.8]`."""
    value, low, high = ratio
    if math.isnan(value):
        return "n/a"
    sign, word = (1, "less") if value < 1 else (-1, "more")
    ratios = (value, *((high, low)[::sign]))  # the smaller saving first
    saving, *ends = (f"{sign * 100 * (1 - each):,.{decimals(value)}f}" for each in ratios)
    return f"{saving} % {word}" + ("" if math.isnan(low) else f" [{', '.join(ends)}]")


def decimals(value: float) -> int:
    """Decimals of a saving in percent, enough to show the rest of the cost, as in 99.9998 %."""
    return max(1, -math.floor(math.log10(100 * value))) if 0 < value < 1 else 1


def _notes(references: Sequence[str], basis: str, level: float) -> list[str]:
    return [
        "device-hours: own and the share of what was computed once, such as the teacher's adaptation; against: the arm "
        f"'{' / '.join(references)}', with public weights taken as given, and with the {basis} pre-training of its "
        "student",
        f"in brackets: {100 * level:g} % interval by first-order error propagation over seeds (t, Welch's degrees of "
        "freedom); shares and pre-training are taken as exact; n: runs of the arm / of its reference; n/a: not known",
    ]
