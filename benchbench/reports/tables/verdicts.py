"""Does distillation match pre-training + fine-tuning? A verdict on every distilled arm, with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.groups import Cells, Group, groups_of
from benchbench.reports.table import Entry, Table
from benchbench.statistics.estimate import Estimate, welch
from benchbench.statistics.examples import McNemar, mcnemar
from benchbench.statistics.noninferiority import holm, judge

TOO_SMALL = "n too small to test"


@dataclass(frozen=True)
class ArmComparison:
    """A distilled arm against the reference of its group, in points of test accuracy.

    Attributes:
        data, student, row: which arm; `row` as in the tables.
        reference: the row it is held against; None where the group has none.
        n, reference_n: finished runs of each.
        missing: runs of both that failed or have not been made.
        failed: whether the arm has no run because it failed.
        difference: mean of the arm - mean of the reference; None without a run of each.
        interval: of the difference; None below two runs of each.
        verdict: as in `benchbench.statistics.noninferiority`; None where n is too small to test.
        p: of the non-inferiority test, after Holm's correction over the arms of the group.
        examples: comparison by test image; None where no record holds its bits.
        examples_p: its p, likewise corrected; None where the images are too few to test.
    """

    data: str
    student: str
    row: str
    reference: str | None
    n: int
    reference_n: int
    missing: int
    failed: bool
    difference: float | None = None
    interval: tuple[float, float] | None = None
    verdict: str | None = None
    p: float | None = None
    examples: McNemar | None = None
    examples_p: float | None = None


def compare(results: pd.DataFrame, margin: float, alpha: float) -> list[ArmComparison]:
    """Every distilled arm against its group's reference.

    Within a group the runs of two arms are independent samples (Welch): a common seed gives them the same order of
    images, but not the same start. What they have in common all the same makes the test cautious, never bold, while
    pairing them by seed would cost half of the few degrees of freedom. Paired are the test images.
    """
    return [each for group in groups_of(results) for each in _compare(group, margin, alpha)]


def _compare(group: Group, margin: float, alpha: float) -> list[ArmComparison]:
    found = [_observed(group, row) for row, cells in group.rows.items() if cells.method == "distill"]
    tested: dict[int, Estimate] = {
        index: welch(group.runs(each.row), group.runs(each.reference), group.resolution)
        for index, each in enumerate(found)
        if min(each.n, each.reference_n) >= 2
    }
    if tested:
        parts = [(each.value, each.error, each.df) for each in tested.values()]
        together = Estimate(*np.array(parts, float).T)
        verdicts, adjusted = judge(together, margin, alpha)
        low, high = together.interval(1 - alpha)
        for place, index in enumerate(tested):
            found[index] = replace(
                found[index],
                interval=(float(low[place]), float(high[place])),
                verdict=str(verdicts[place]),
                p=float(adjusted[place]),
            )
    images = {
        index: each.examples.p for index, each in enumerate(found) if each.examples and each.examples.possible(alpha)
    }
    for index, p in zip(images, holm(np.array(list(images.values()))), strict=True):
        found[index] = replace(found[index], examples_p=float(p))
    return found


def _observed(group: Group, row: str) -> ArmComparison:
    """What there is of an arm and its reference, before any test."""
    ours, reference = group.rows[row], group.reference
    theirs = group.rows[reference] if reference else Cells("finetune")
    both = bool(ours.accuracies and theirs.accuracies)
    return ArmComparison(
        data=group.data,
        student=group.student,
        row=row,
        reference=reference,
        n=len(ours.accuracies),
        reference_n=len(theirs.accuracies),
        missing=ours.missing + theirs.missing,
        failed=bool(ours.failed and not ours.accuracies),
        difference=float(ours.runs.mean() - theirs.runs.mean()) if both else None,
        examples=_examples(ours.correct, theirs.correct) if both else None,
    )


def _examples(ours: np.ndarray | None, theirs: np.ndarray | None) -> McNemar | None:
    if ours is None or theirs is None or ours.shape[1] != theirs.shape[1]:
        return None
    return mcnemar(ours, theirs)


def verdicts(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Each distilled arm against pre-train + fine-tune: difference, verdict, p, n, and McNemar's test by image.

    The verdict is that of a non-inferiority test with the suite's `statistics: {margin, alpha}`: `surpasses`,
    `matches`, `falls short` or `inconclusive`, as `benchbench.statistics.noninferiority` defines them, with Holm's
    correction over the distilled arms of one data set and student. None for a suite without an arm that fine-tunes or
    one that distils.
    """
    margin, alpha = plan.suite.statistics.margin, plan.suite.statistics.alpha
    found = compare(results, margin, alpha)
    references = list(dict.fromkeys(each.reference for each in found if each.reference))
    if not references:
        return None
    several = len(results[["data", "student"]].drop_duplicates()) > 1
    rows = [
        [Entry(text) for text in ([each.data, each.student, each.row] if several else [each.row]) + _texts(each)]
        for each in found
    ]
    labels = ["data", "student", "arm"] if several else ["arm"]
    columns = [*labels, "difference", "verdict", "p", "n", "images won : lost", "p (images)"]
    title = (
        f"Distillation against {' / '.join(references)} in {plan.suite.name}: test accuracy, margin {margin:g} points"
    )
    return Table("verdicts", title, columns, rows, _notes(references, margin, alpha), len(labels))


def _texts(each: ArmComparison) -> list[str]:
    if each.difference is None:
        state = "no reference" if each.n else "failed" if each.failed else "–"
        return [state, *["–"] * 5]
    difference = f"{each.difference:+.2f}"
    verdict = each.verdict or TOO_SMALL
    if each.interval:
        low, high = each.interval
        difference += f" [{low:+.2f}, {high:+.2f}]"
        if high < 0 and verdict in ("matches", "inconclusive"):
            verdict += " (worse)"
    counts = f"{each.n} / {each.reference_n}" + (f", {each.missing} missing" if each.missing else "")
    images = f"{each.examples.won} : {each.examples.lost}" if each.examples else "–"
    images_p = p_text(each.examples_p) if each.examples_p is not None else TOO_SMALL if each.examples else "–"
    return [difference, verdict, p_text(each.p), counts, images, images_p]


def p_text(p: float | None) -> str:
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _notes(references: list[str], margin: float, alpha: float) -> list[str]:
    level, half = f"{100 * (1 - alpha):g} %", f"{alpha / 2:g}"
    return [
        f"difference: mean of the arm - mean of {' / '.join(references)}, in points, with its {level} t-interval "
        "(Welch) over n runs (arm / reference), one a seed: what other seeds could change, with these teachers and "
        "test images",
        f"surpasses: the difference lies above 0; matches: above -{margin:g}, the margin; falls short: below "
        f"-{margin:g}; else inconclusive. Each is a one-sided t-test at {half} with Holm's correction over the "
        "distilled arms of a data set and student: a verdict may be more careful than the interval, which is of one "
        "arm alone",
        "(worse): the interval lies below 0, so the arm is worse, but by less than the margin (matches), or not "
        "certainly by more (inconclusive)",
        f"p: of the test that the difference lies above -{margin:g}, corrected; at most {half} matches or surpasses",
        "images won : lost: test images that the arm gets right in a larger share of its runs than the reference, and "
        "the reverse; p: McNemar's exact test (two-sided, Holm), each image counting once however many runs there are: "
        "what other test images could change, for these trained networks",
        f"{TOO_SMALL}: one run shows no spread; fewer than {_fewest(alpha)} images won or lost cannot be significant",
    ]


def _fewest(alpha: float) -> int:
    return next(images for images in count(1) if McNemar(images, 0, 1.0).possible(alpha))
