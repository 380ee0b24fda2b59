"""Verdicts: every distilled arm against pre-training + fine-tuning, with the test behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.summary import labels_of
from benchbench.reports.table import Entry, Table
from benchbench.statistics.estimate import Estimate, welch
from benchbench.statistics.examples import McNemar, mcnemar
from benchbench.statistics.noninferiority import holm, judge

TOO_SMALL = "n too small to test"
BY_IMAGE = ("images won : lost", "p (images)")


@dataclass(frozen=True)
class ArmComparison:
    """A distilled arm against the reference of its group, in points of test accuracy.

    Attributes:
        data, student, row: of the arm; `row` as in the tables.
        reference: the row that it is compared with; None where the group has none.
        n, reference_n: finished runs of each.
        missing: number of runs of both that have failed or not been made.
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
    return [each for group in groups_of(results).values() for each in _compare(group, margin, alpha)]


def _compare(group: Group, margin: float, alpha: float) -> list[ArmComparison]:
    rows = [row for row, runs in group.rows.items() if runs.method == "distill"]
    return compare_group(group, rows, group.reference, margin, alpha)


def compare_group(
    group: Group, rows: Sequence[str], reference: str | None, margin: float, alpha: float
) -> list[ArmComparison]:
    """Some rows of a group against one of it, corrected together; without a test where there is no such one."""
    untested = [_untested(group, row, reference) for row in rows]
    return _with_image_tests(_with_verdicts(untested, group, margin, alpha), alpha)


def _untested(group: Group, row: str, other: str | None) -> ArmComparison:
    """An arm and its reference before any test."""
    runs, reference = group[row], group[other]
    both = bool(runs.n and reference.n)
    return ArmComparison(
        data=group.data,
        student=group.student,
        row=row,
        reference=other,
        n=runs.n,
        reference_n=reference.n,
        missing=runs.missing + reference.missing,
        failed=bool(runs.failed and not runs.n),
        difference=float(runs.points.mean() - reference.points.mean()) if both else None,
        examples=_examples(runs.correct, reference.correct) if both else None,
    )


def _with_verdicts(arms: Sequence[ArmComparison], group: Group, margin: float, alpha: float) -> list[ArmComparison]:
    """The arms of a group with interval, verdict and p; unchanged where n is too small to test."""
    tested = [arm.row for arm in arms if min(arm.n, arm.reference_n) >= 2]
    if not tested:
        return list(arms)
    reference = group[arms[0].reference].points
    estimates = [welch(group[row].points, reference, group.resolution) for row in tested]
    estimate = Estimate(*np.array([(each.value, each.error, each.df) for each in estimates], float).T)
    names, adjusted = judge(estimate, margin, alpha)
    low, high = estimate.interval(1 - alpha)
    results = {row: (low[i], high[i], names[i], adjusted[i]) for i, row in enumerate(tested)}
    return [_with_verdict(arm, *results[arm.row]) if arm.row in results else arm for arm in arms]


def _with_verdict(arm: ArmComparison, low: float, high: float, verdict: str, p: float) -> ArmComparison:
    return replace(arm, interval=(float(low), float(high)), verdict=str(verdict), p=float(p))


def _with_image_tests(arms: Sequence[ArmComparison], alpha: float) -> list[ArmComparison]:
    """The arms of a group with corrected p of McNemar's test; unchanged where the images are too few to test."""
    tested = {arm.row: arm.examples.p for arm in arms if arm.examples and arm.examples.possible(alpha)}
    adjusted = dict(zip(tested, holm(np.array(list(tested.values()))), strict=True))
    return [replace(arm, examples_p=float(adjusted[arm.row])) if arm.row in adjusted else arm for arm in arms]


def _examples(correct: np.ndarray | None, reference: np.ndarray | None) -> McNemar | None:
    if correct is None or reference is None or correct.shape[1] != reference.shape[1]:
        return None
    return mcnemar(correct, reference)


def verdicts(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Each distilled arm against pre-train + fine-tune: difference, verdict, p, n, and McNemar's test by image.

    The verdict is that of a non-inferiority test with the suite's `statistics: {margin, alpha}`: `surpasses`,
    `matches`, `falls short` or `inconclusive`, as `benchbench.statistics.noninferiority` defines them, with Holm's
    correction over the distilled arms of one data set and student. None for a suite without an arm that fine-tunes or
    one that distils.
    """
    margin, alpha = plan.suite.statistics.margin, plan.suite.statistics.alpha
    arms = compare(results, margin, alpha)
    references = list(dict.fromkeys(arm.reference for arm in arms if arm.reference))
    if not references:
        return None
    labels = [*labels_of(results, "data", "student"), "arm"]
    columns = [*labels, "difference", "verdict", "p", "n", *BY_IMAGE]
    rows = [[Entry(text) for text in [arm.data, arm.student, arm.row][-len(labels) :] + _texts(arm)] for arm in arms]
    notes = _notes(references, margin, alpha)
    if plan.task != "classification":  # no image is right or wrong as a whole; `by_image` compares by them
        columns, rows = columns[: -len(BY_IMAGE)], [row[: -len(BY_IMAGE)] for row in rows]
        notes = [note for note in notes if "images won : lost" not in note]
    title = (
        f"Distillation against {' / '.join(references)} in {plan.suite.name}: test accuracy, margin {margin:g} points"
    )
    return Table("verdicts", title, columns, rows, notes, len(labels))


def _texts(arm: ArmComparison) -> list[str]:
    if arm.difference is None:
        state = "no reference" if arm.n else "failed" if arm.failed else "–"
        return [state, *["–"] * 5]
    difference = f"{arm.difference:+.2f}"
    verdict = arm.verdict or TOO_SMALL
    if arm.interval:
        low, high = arm.interval
        difference += f" [{low:+.2f}, {high:+.2f}]"
        if high < 0 and verdict in ("matches", "inconclusive"):
            verdict += " (worse)"
    counts = f"{arm.n} / {arm.reference_n}" + (f", {arm.missing} missing" if arm.missing else "")
    images = f"{arm.examples.won} : {arm.examples.lost}" if arm.examples else "–"
    images_p = p_text(arm.examples_p) if arm.examples_p is not None else TOO_SMALL if arm.examples else "–"
    return [difference, verdict, p_text(arm.p), counts, images, images_p]


def p_text(p: float | None) -> str:
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _notes(references: list[str], margin: float, alpha: float) -> list[str]:
    level, half = f"{100 * (1 - alpha):g} %", f"{alpha / 2:g}"
    return [
        f"difference: mean of the arm - mean of {' / '.join(references)}, in points, with its {level} t-interval "
        "(Welch) over n runs (arm / reference), one per seed: the variation over seeds, with these teachers and test "
        "images",
        f"surpasses: the difference lies above 0; matches: above -{margin:g}, the margin; falls short: below "
        f"-{margin:g}; else inconclusive. Each is a one-sided t-test at {half} with Holm's correction over the "
        "distilled arms of a data set and student: a verdict may be more careful than the interval, which is of one "
        "arm alone",
        "(worse): the interval lies below 0, so the arm is worse, but by less than the margin (matches), or not "
        "certainly by more (inconclusive)",
        f"p: of the test that the difference lies above -{margin:g}, corrected; at most {half} matches or surpasses",
        "images won : lost: test images that the arm gets right in a larger share of its runs than the reference, and "
        "the reverse; p: McNemar's exact test (two-sided, Holm), each image counting once however many runs there are: "
        "the variation over test images, for these trained networks",
        f"{TOO_SMALL}: one run shows no spread; fewer than {_fewest(alpha)} images won or lost cannot be significant",
    ]


def _fewest(alpha: float) -> int:
    return next(images for images in count(1) if McNemar(images, 0, 1.0).possible(alpha))
