"""The answer of a suite in words: is it better to pre-train or to distil, by how much, and what does each cost?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, Runs, groups_of
from benchbench.reports.summary import hours_text, level_of
from benchbench.reports.tables.gpu_hours import trained_hours
from benchbench.reports.tables.verdicts import ArmComparison, compare_group, p_text
from benchbench.statistics.noninferiority import FALLS_SHORT, INCONCLUSIVE, MATCHES, SURPASSES

# Pairs of data set and student that get a sentence each; more are counted in one.
SENTENCES = 3
# Whom the best of some arms is compared with: methods of both sides, the first that a pair has.
CONTESTS = (
    (("distill",), "finetune"),
    (("distill",), "linear_probe"),
    (("distill",), "scratch"),
    (("finetune", "linear_probe"), "scratch"),
)
# Outcomes for the better of two sides, beside those of `benchbench.statistics.noninferiority`.
WORSE_WITHIN_MARGIN, WORSE, UNTESTED = "worse within the margin", "worse", "untested"
TOO_FEW = "too few seeds for an interval"


@dataclass(frozen=True)
class Contest:
    """The best of some arms against another arm of the same group.

    Attributes:
        group: of both.
        arm: the comparison; its `row` is the best arm, its `reference` the other.
        num_arms: arms that the best was chosen from, those that have a finished run.
        level: of the interval, 0..1.
        margin: points that an arm may lose and still match.
    """

    group: Group
    arm: ArmComparison
    num_arms: int
    level: float
    margin: float

    @property
    def runs(self) -> Runs:
        return self.group[self.arm.row]

    @property
    def reference(self) -> Runs:
        return self.group[self.arm.reference]

    @property
    def outcome(self) -> str:
        """The verdict on the best arm; where its interval lies below 0, that it is worse."""
        if self.arm.interval is None or self.arm.verdict is None:
            return UNTESTED
        if self.arm.interval[1] < 0 and self.arm.verdict in (MATCHES, INCONCLUSIVE):
            return WORSE_WITHIN_MARGIN if self.arm.verdict == MATCHES else WORSE
        return self.arm.verdict


def answer(results: pd.DataFrame, plan: Plan) -> str:
    """The answer of a suite: pre-training or distillation, by how much, and what one run of each costs.

    The best distilled arm (by mean test accuracy) is compared with the first arm that fine-tunes pre-trained weights,
    by the test and the interval of the table `verdicts`; in a suite without one of the two, with the arm that comes
    nearest (see `CONTESTS`). Each data set x student has a sentence; more than `SENTENCES` are counted in one. Hours
    are those of the table `gpu_hours`: measured, with the stages that the run needs; pre-training is measured where
    the suite runs it, and estimated where weights are public.
    """
    if not (results.status == "done").any():
        return _unfinished(results) or "Nothing has been run yet, so there is no answer."
    groups = list(groups_of(results).values())
    contests = [_contest(group, plan) for group in groups]
    if len(groups) > SENTENCES:
        sentences = _counts(groups, [contest for contest in contests if contest])
    else:
        pairs = zip(groups, contests, strict=True)
        sentences = [_sentence(contest) if contest else _without_contest(group) for group, contest in pairs]
    return " ".join(filter(None, [*sentences, _unfinished(results)]))


def _contest(group: Group, plan: Plan) -> Contest | None:
    """The first of `CONTESTS` whose sides the group has; None where it has none, or one side has no finished run."""
    rules = plan.suite.statistics
    for methods, other in CONTESTS:
        rows = group.rows_by_method(*methods)
        reference = next(iter(group.rows_by_method(other)), None)
        if not rows or reference is None:
            continue
        arms = compare_group(group, rows, reference, rules.margin, rules.alpha)
        finished = [arm for arm in arms if arm.difference is not None]
        # One run of an arm may have been lucky: the best is one of those that show a spread, where there are any.
        tested = [arm for arm in finished if arm.interval is not None] or finished
        if not tested:
            return None
        best = max(tested, key=lambda arm: arm.difference or 0.0)
        return Contest(group, best, len(finished), level_of(plan), rules.margin)
    return None


def _sentence(contest: Contest) -> str:
    """One comparison: the outcome and its interval, then accuracy and cost of both sides, the better one first."""
    arm, group = contest.arm, contest.group
    assert arm.difference is not None
    ours, theirs = _noun(contest.runs, arm.row), _noun(contest.reference, arm.reference or "")
    ahead = arm.difference > 0 or contest.outcome in (MATCHES, INCONCLUSIVE)
    sides = [_side(contest, contest.runs), _side(contest, contest.reference)]
    first, second = sides if ahead else sides[::-1]
    better = _better_than_both(contest)
    return f"{_where(group)}, {_outcome(contest, ours, theirs)}: {first} against {second}{better}."


def _outcome(contest: Contest, ours: str, theirs: str) -> str:
    """The better side, and by how much it is better."""
    difference, margin = contest.arm.difference or 0.0, f"{contest.margin:g}"
    if contest.outcome == UNTESTED:
        if round(difference, 1) == 0:
            return f"{ours} and {theirs} were equal ({TOO_FEW})"
        winner, loser = (ours, theirs) if difference > 0 else (theirs, ours)
        return f"{winner} was better than {loser} by {abs(difference):.1f} points ({TOO_FEW}{_by_images(contest)})"
    reverse = f"{theirs} is better than {ours} by {_points(contest, -1)}"
    signed = f"with a difference of {_points(contest, 0)}"
    return {
        SURPASSES: f"{ours} is better than {theirs} by {_points(contest, 1)}",
        MATCHES: f"{ours} matches {theirs} within {margin} points, {signed}",
        WORSE_WITHIN_MARGIN: f"{reverse}, which is within the margin of {margin}",
        WORSE: f"{reverse}, though perhaps by less than the margin of {margin}",
        FALLS_SHORT: reverse,
        INCONCLUSIVE: f"it is open whether {ours} matches {theirs} within {margin} points, {signed}",
    }[contest.outcome]


def _by_images(contest: Contest) -> str:
    """The evidence of the test images alone for a difference, where the seeds are too few."""
    p, examples = contest.arm.examples_p, contest.arm.examples
    # The images are counted by the top class, and may speak for the other side where the metric is another.
    agrees = examples is not None and (examples.won > examples.lost) == ((contest.arm.difference or 0.0) > 0)
    if p is None or p > 1 - contest.level or not agrees:
        return ", so this may be chance"
    relation = "" if p < 0.001 else "= "
    return f"; for these networks more than chance over the test images, p {relation}{p_text(p)}"


def _points(contest: Contest, sign: int) -> str:
    """The difference with its interval: for one side (1 or -1), or with its sign (0)."""
    arm, number = contest.arm, "+.1f" if sign == 0 else ".1f"
    assert arm.difference is not None
    assert arm.interval is not None
    low, high = sorted((sign or 1) * end for end in arm.interval)
    seeds = f"{arm.n}" if arm.n == arm.reference_n else f"{arm.n} and {arm.reference_n}"
    interval = f"{100 * contest.level:g} % interval {low:{number}} to {high:{number}}, {seeds} seeds"
    return f"{(sign or 1) * arm.difference:{number}} points ({interval})"


def _side(contest: Contest, runs: Runs) -> str:
    """Accuracy and cost of one side, with what its cost holds and what it leaves out."""
    arm, hours = contest.arm, trained_hours(runs)
    remarks = []
    if runs is contest.runs:
        kind = "distilled arms" if runs.method == "distill" else "arms with pre-trained weights"
        name = [arm.row] if runs.method == "distill" else []  # others are named before
        best = [f"the best of {contest.num_arms} {kind}"] if contest.num_arms > 1 else []
        remarks += [", ".join([*name, *best])] if name or best else []
    if runs.method == "distill":
        remarks += _teachers_pretraining(runs, hours)
    pretraining = runs.mean("pretraining_hours")
    if runs.basis() or math.isnan(pretraining):
        remarks.append(_with_pretraining(hours, pretraining, f"its {runs.basis()}"))
    cost = f"{hours_text(hours)} {_unit([runs])} a run"
    return f"{100 * runs.mean('accuracy'):.1f} % for {cost}" + (f" ({'; '.join(remarks)})" if remarks else "")


def _teachers_pretraining(runs: Runs, hours: float) -> list[str]:
    pretraining = runs.mean("teacher_pretraining_hours")
    if math.isnan(pretraining):
        return ["its teacher's pre-training is not counted"]
    basis = runs.basis("teacher_pretraining_basis")
    return [_with_pretraining(hours, pretraining, f"its teacher's {basis}")] if pretraining else []


def _with_pretraining(hours: float, pretraining: float, whose: str) -> str:
    if math.isnan(pretraining):
        return "the cost of its pre-training is not known"
    return f"{hours_text(hours + pretraining)} with {whose} pre-training"


def _better_than_both(contest: Contest) -> str:
    """The most accurate arm of the group, where it is neither side."""
    sides = max(contest.runs.mean("accuracy"), contest.reference.mean("accuracy"))
    row, runs = _best(contest.group)
    return f"; {row} reached {_result(runs)}" if runs.mean("accuracy") > sides else ""


def _without_contest(group: Group) -> str:
    """The best arm of a group in which no two sides can be compared, and the reason."""
    if not any(runs.n for runs in group.rows.values()):
        return f"{_where(group)}, no run is finished."
    row, runs = _best(group)
    reason = "the other side has no finished run" if _sides(group) else "the suite has no other side to compare it with"
    hours = f"{hours_text(trained_hours(runs))} {_unit([runs])}"
    return f"{_where(group)}, {row} reached {_result(runs)} for {hours} a run; {reason}."


def _sides(group: Group) -> bool:
    """True where the group would have two sides if all its runs were finished."""
    return any(group.rows_by_method(*ours) and group.rows_by_method(other) for ours, other in CONTESTS)


def _counts(groups: Sequence[Group], contests: Sequence[Contest]) -> list[str]:
    """The outcomes on many pairs of data set and student, counted by the sides that were compared."""
    if not contests:
        return [f"None of the {len(groups)} pairs of data set and student has two sides with finished runs."]
    by_sides: dict[tuple[str, str], list[Contest]] = {}
    for contest in contests:
        ours = "distillation" if contest.runs.method == "distill" else "pre-training"
        by_sides.setdefault((ours, _noun(contest.reference, contest.arm.reference or "")), []).append(contest)
    left = len(groups) - len(contests)
    rest = [f"not comparable on {left}"] if left else []
    if len(by_sides) == 1:
        return [_count(f"{len(groups)} pairs", *sides, compared, rest) for sides, compared in by_sides.items()]
    of_all = f"of {len(groups)} pairs"
    sentences = [_count(f"{len(each)} {of_all}", *sides, each, []) for sides, each in by_sides.items()]
    return [*sentences, *(f"{text[0].upper()}{text[1:]} {of_all}." for text in rest)]


def _count(pairs: str, ours: str, theirs: str, contests: Sequence[Contest], rest: Sequence[str]) -> str:
    """The outcomes of one comparison on so many pairs, with the ratios of the costs, and what else is counted."""
    margin, counts = f"{contests[0].margin:g}", Counter(contest.outcome for contest in contests)
    texts = {
        SURPASSES: "better on {}",
        MATCHES: f"as good within {margin} points on {{}}",
        WORSE_WITHIN_MARGIN: f"worse by less than {margin} points on {{}}",
        WORSE: f"worse, perhaps by less than {margin} points, on {{}}",
        FALLS_SHORT: f"worse by more than {margin} points on {{}}",
        INCONCLUSIVE: "neither for certain on {}",
        UNTESTED: "not tested on {} (too few seeds)",
    }
    parts = [text.format(counts[outcome]) for outcome, text in texts.items() if counts[outcome]]
    parts += rest
    best = " (the best arm of each)" if any(each.num_arms > 1 for each in contests) else ""
    counted = f"Over {pairs} of data set and student, compared with {theirs}, {ours}{best} is"
    return f"{counted} {', '.join(parts)}; {_cost_ratios(contests)}."


def _cost_ratios(contests: Sequence[Contest]) -> str:
    """Median and range of the ratios of the costs, without and with pre-training."""
    unit = _unit([runs for contest in contests for runs in (contest.runs, contest.reference)])
    plain = [trained_hours(contest.runs) / trained_hours(contest.reference) for contest in contests]
    texts = [f"{_ratios(plain)} the {unit}"]
    totals = [_total(contest.runs) / _total(contest.reference) for contest in contests]
    known = [ratio for ratio in totals if not math.isnan(ratio)]
    if known and known != plain:
        basis = contests[0].reference.basis() or contests[0].runs.basis()
        words = " ".join(filter(None, ["with", basis, "pre-training of the student's weights"]))
        texts.append(f"{_ratios(known)} {words}")
    return f"a run of it costs {', and '.join(texts)}"


def _total(runs: Runs) -> float:
    return trained_hours(runs) + runs.mean("pretraining_hours")


def _ratios(ratios: Sequence[float]) -> str:
    texts = [f"{ratio:.2g}" for ratio in (median(ratios), min(ratios), max(ratios))]
    return f"{texts[0]} times" + (f" ({texts[1]} to {texts[2]})" if texts[1] != texts[2] else "")


def _noun(runs: Runs, row: str) -> str:
    """A side's name in a sentence; of an arm that fine-tunes by another name, what it does."""
    if runs.method == "distill":
        return "distillation"
    if runs.method == "finetune" and "tun" not in row.lower():
        return f"pre-train + fine-tune ({row})"
    return row


def _where(group: Group) -> str:
    images = {
        float(each) for runs in group.rows.values() for each in runs["train_images"].tolist() if not math.isnan(each)
    }
    size = f" ({images.pop():,.0f} training images)" if len(images) == 1 else ""
    return f"On {group.data}{size} with {group.student}"


def _best(group: Group) -> tuple[str, Runs]:
    """The arm with the highest mean accuracy, of a group with a finished run."""
    finished = {row: runs for row, runs in group.rows.items() if runs.n}
    return max(finished.items(), key=lambda item: item[1].mean("accuracy"))


def _result(runs: Runs) -> str:
    return f"{100 * runs.mean('accuracy'):.1f} % (n={runs.n})"


def _unit(each: Sequence[Runs]) -> str:
    """GPU-hours or CPU-hours; device-hours where there are both."""
    units = {unit for runs in each for unit in runs.columns.texts("unit", runs.finished)}
    return units.pop() if len(units) == 1 else "device-hours"


def _unfinished(results: pd.DataFrame) -> str:
    """The numbers of cells that failed, have not been run, or lack the suite's metric; empty where all have it."""
    counts = Counter(results.status)
    words = {"failed": "failed", "missing": "not run yet", "unmeasured": "done without this metric"}
    texts = [f"{counts[status]} {text}" for status, text in words.items() if counts[status]]
    if not texts:
        return ""
    if counts["unmeasured"] and not counts["done"]:
        return f"No cell has the metric, so there is no answer: {' and '.join(texts)}, of {len(results)} cells."
    if not counts["done"]:
        return f"No cell is done, so there is no answer: {' and '.join(texts)}, of {len(results)} cells."
    return f"Of {len(results)} cells {' and '.join(texts)}; the numbers are of the others."
