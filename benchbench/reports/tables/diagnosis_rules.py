"""Signs of failure in what a run has left: each a rule with a named threshold, evidence in numbers, and what to try."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Curve = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Thresholds:
    """When a sign counts; accuracies in 0..1.

    Attributes:
        noise: standard errors that a difference of two test accuracies must exceed, by the number of images tested.
        far_below: how far under pre-train + fine-tune a distilled student is far below.
        spike: share of all that training had gained in loss, which one epoch loses again.
        spike_times: how many usual changes from epoch to epoch that must be, too; and a rise from first to last.
        late: share of the epochs, at the end, that is compared with as many before.
        still_gaining: gain of accuracy in that last part from which on training was cut short.
        least_epochs: what a curve must have for these rules.
        collapsed: the uniformity term above which embeddings have collapsed: -0.5 is a mean squared distance of 0.25
            between unit vectors, of the 2 of independent ones; all in one point give 0.
        fitted: training accuracy from which on the training set counts as learned by heart.
        gap: how far test accuracy then lies under training accuracy.
    """

    noise: float = 2.0
    far_below: float = 0.10
    spike: float = 0.5
    spike_times: float = 5.0
    late: float = 0.2
    still_gaining: float = 0.02
    least_epochs: int = 5
    collapsed: float = -0.5
    fitted: float = 0.95
    gap: float = 0.15


LIMITS = Thresholds()


@dataclass(frozen=True)
class Sign:
    """A kind of failure.

    Attributes:
        name: what the table calls it.
        rule: when it counts, with the thresholds.
        advice: what to try.
    """

    name: str
    rule: str
    advice: str


SIGNS = {
    "baseline": Sign(
        "far below the baseline",
        f"a distilled student {100 * LIMITS.far_below:g} points or more under pre-train + fine-tune, or under scratch, "
        f"and by more than {LIMITS.noise:g} standard errors of the test",
        "a teacher that suits the task (another state or network), more epochs or images; below scratch: a smaller "
        "weight of the distillation terms",
    ),
    "teacher": Sign(
        "teacher weaker than the student",
        f"the adapted teacher's test accuracy under the student's, by more than {LIMITS.noise:g} standard errors",
        "adapt the teacher better (finetune, more epochs), or take a stronger one",
    ),
    "unstable": Sign(
        "training unstable",
        f"an epoch's loss rises by over {100 * LIMITS.spike:g} % of all it had gained and {LIMITS.spike_times:g} usual "
        "changes, ends as many changes above its beginning, or is no number",
        "a lower learning rate, warm-up, smaller weights of the loss's terms, fp32",
    ),
    "slow": Sign(
        "slow convergence",
        f"accuracy still gains over {100 * LIMITS.still_gaining:g} points (and the noise) in the last "
        f"{100 * LIMITS.late:g} % of the epochs",
        "more epochs, a higher learning rate, a lighter projector or teacher",
    ),
    "collapse": Sign(
        "projector collapse",
        f"the uniformity of the embeddings ends above {LIMITS.collapsed:g}: they lie in one place",
        "a larger weight of the uniformity term, a lower learning rate, another projector",
    ),
    "overfitting": Sign(
        "overfitting",
        f"training accuracy of {100 * LIMITS.fitted:g} % or more, and test accuracy {100 * LIMITS.gap:g} points below",
        "augmentation, weight decay, fewer epochs, more images (`selection: {rule: best}` finds the epoch)",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One sign in one run: its key in `SIGNS`, how strong it is (for choosing among seeds), and the numbers."""

    sign: str
    strength: float
    evidence: str


def in_curve(curve: Curve, train_images: int, validation_images: int, test_accuracy: float) -> list[Finding]:
    """What a training curve shows by itself."""
    epochs = [row for row in curve if row.get("epoch", 0) > 0]  # a first stage has numbers up to 0
    found = [_instability(epochs), _slowness(epochs, train_images, validation_images)]
    found += [_collapse(epochs), _overfitting(epochs, train_images, test_accuracy)]
    return [finding for finding in found if finding is not None]


def _instability(epochs: Curve) -> Finding | None:
    losses = [float(row["loss"]) for row in epochs if "loss" in row]
    if len(losses) < LIMITS.least_epochs:
        return None
    steps = [after - before for before, after in itertools.pairwise(losses)]
    if max(steps) <= 0:
        return None
    usual = statistics.median(map(abs, steps))
    worst: Finding | None = None
    lowest = list(itertools.accumulate(losses, min))
    for number, rise in enumerate(steps[1:], start=2):
        gained = losses[0] - lowest[number - 1]
        if gained > 0 and rise > LIMITS.spike * gained and rise > LIMITS.spike_times * usual:
            share = rise / gained
            if worst is None or share > worst.strength:
                where = f"from {losses[number - 1]:.4g} to {losses[number]:.4g} in epoch {epochs[number]['epoch']}"
                worst = Finding("unstable", share, f"loss {where}, {100 * share:.0f} % of what it had gained")
    if worst is None and losses[-1] - losses[0] > LIMITS.spike_times * usual:
        return Finding("unstable", 0.0, f"loss {losses[0]:.4g} after the first epoch, {losses[-1]:.4g} after the last")
    return worst


def _slowness(epochs: Curve, train_images: int, validation_images: int) -> Finding | None:
    validated = bool(epochs) and "validation_accuracy" in epochs[-1]
    name = "validation_accuracy" if validated else "train_accuracy"
    values = [float(row[name]) for row in epochs if name in row]
    part = max(1, round(LIMITS.late * len(values)))
    images = validation_images if validated else train_images
    if len(values) < max(LIMITS.least_epochs, 2 * part) or not images:
        return None
    late, before = statistics.fmean(values[-part:]), statistics.fmean(values[-2 * part : -part])
    gain, needed = late - before, LIMITS.still_gaining + LIMITS.noise * _error(late, images)
    if gain <= needed:
        return None
    last = f"the last {part} epochs" if part > 1 else "the last epoch"
    kind = name.replace("_", " ").replace("train ", "training ")
    return Finding("slow", gain, f"{kind} gained {100 * gain:.1f} points in {last}, to {100 * late:.1f} %")


def _collapse(epochs: Curve) -> Finding | None:
    last = epochs[-1] if epochs else {}
    terms = {name: float(value) for name, value in last.items() if re.search(r"(^|\.)uniform( \d+)?$", name)}
    if len(epochs) < LIMITS.least_epochs or not terms or max(terms.values()) <= LIMITS.collapsed:
        return None
    name = max(terms, key=lambda term: terms[term])
    return Finding("collapse", terms[name], f"{name} {terms[name]:.3g} after the last epoch")


def _overfitting(epochs: Curve, train_images: int, test_accuracy: float) -> Finding | None:
    fitted = float(epochs[-1].get("train_accuracy", 0.0)) if epochs else 0.0
    gap = fitted - test_accuracy
    if fitted < LIMITS.fitted or gap < LIMITS.gap:
        return None
    numbers = f"training accuracy {100 * fitted:.1f} %, test accuracy {100 * test_accuracy:.1f} %"
    return Finding("overfitting", gap, f"{numbers}, with {train_images:,} training images")


def not_a_number(reason: str) -> Finding | None:
    """Of a run that failed: whether its loss was no number any more."""
    if re.match(r"loss is -?(nan|inf) ", reason) is None:
        return None
    return Finding("unstable", math.inf, reason)


def below(name: str, baseline: float, accuracy: float, images: float, least: float) -> Finding | None:
    """A distilled student against a baseline, mean test accuracies."""
    difference = baseline - accuracy
    if difference < least or difference <= _noise(baseline, accuracy, images):
        return None
    numbers = f"{100 * accuracy:.1f} % against {100 * baseline:.1f} % of {name}"
    return Finding("baseline", difference, f"{numbers}: {100 * difference:.1f} points below")


def weaker_teacher(teacher: float, student: float, images: float, what: str) -> Finding | None:
    """The teacher's test accuracy against that of its student."""
    difference = student - teacher
    if difference <= _noise(teacher, student, images):
        return None
    return Finding("teacher", difference, f"teacher {100 * teacher:.1f} %, {what} {100 * student:.1f} %")


def _noise(one: float, two: float, images: float) -> float:
    """By how much two accuracies on that many test images may differ by chance."""
    return LIMITS.noise * math.hypot(_error(one, images), _error(two, images))


def _error(accuracy: float, images: float) -> float:
    """Standard error of an accuracy measured on that many images."""
    return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / images)
