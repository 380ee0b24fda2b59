"""Signs of failure in a run's curve and accuracies: each a rule with a named threshold, evidence and advice."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchbench.specs.records import VANISHING, CurveRow, TrainingMetrics

Curve = Sequence[CurveRow]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the signs; accuracies in 0..1.

    Attributes:
        noise: standard errors that a difference of two test accuracies must exceed, by the number of images tested.
        far_below: distance to pre-train + fine-tune from which on a distilled student is far below.
        spike: share of the loss that training had gained, and that one epoch loses again.
        spike_times: the same in usual changes from epoch to epoch; also for a rise from the first epoch to the last.
        late: share of the epochs, at the end, that is compared with as many before.
        still_gaining: gain of accuracy in that last part from which on training was cut short.
        least_epochs: length of a curve from which on these rules apply.
        collapsed: the uniformity term above which embeddings have collapsed: -0.5 is a mean squared distance of 0.25
            between unit vectors, of the 2 of independent ones; all in one point give 0.
        fitted: training accuracy from which on the training set counts as memorised.
        gap: distance of test accuracy to training accuracy then.
        above_chance: where chance and its noise reach this accuracy, there are too few test images to tell.
        one_class: share of the test images that are given the same class from which on there is no other one to the
            network; where a class has more than that share of the images, half of the rest too.
        same_embedding: relative spread of embeddings below which all are the same.
        vanishing: share of cross-entropy's gradient under which a loss hardly trains the student.
        teacher_floor: what a segmentation's teacher must have over one class for all pixels, in mIoU, and a
            detection's at all, in mAP.
        same_dimensions: share of an embedding's dimensions that are constant above which it says nothing.
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
    above_chance: float = 0.75
    one_class: float = 0.95
    same_embedding: float = 0.1
    same_dimensions: float = 0.9
    teacher_floor: float = 0.05
    vanishing: float = VANISHING


LIMITS = Thresholds()


@dataclass(frozen=True)
class Sign:
    """A kind of failure.

    Attributes:
        name: in the table.
        rule: with the thresholds.
        advice: things to try.
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
    "floor": Sign(
        "teacher that has learnt nothing",
        f"the mIoU of a segmentation's teacher less than {100 * LIMITS.teacher_floor:g} points above that of one class "
        "for all pixels, or the mAP of a detection's under that",
        "adapt the teacher better (finetune, more epochs, a larger image_size); look at its curve",
    ),
    "unstable": Sign(
        "training unstable",
        f"an epoch's loss rises by over {100 * LIMITS.spike:g} % of its gain and {LIMITS.spike_times:g} usual "
        "changes, ends as many changes above its beginning, or is no number",
        "a lower learning rate, warm-up, smaller weights of the loss's terms, fp32",
    ),
    "constant": Sign(
        "one class for all images",
        f"the network gives one class for {100 * LIMITS.one_class:g} % of the test images or more, and the test images "
        "are not of one class",
        "a lower learning rate, warm-up, smaller weights of the distillation terms; look at the curve's first epochs",
    ),
    "embedding": Sign(
        "dead embedding",
        f"the embeddings of the test images differ by less than {100 * LIMITS.same_embedding:g} % of their size, or "
        f"over {100 * LIMITS.same_dimensions:g} % of their dimensions are constant: a linear probe has nothing to read",
        "a larger image_size (a published network may give nothing on images much smaller than those it was trained "
        "on), its own mean and std, finetune in place of a linear probe",
    ),
    "vanishing": Sign(
        "vanishing gradient of a loss",
        f"at the first step the gradient of a loss to the student is under {LIMITS.vanishing:g} of cross-entropy's: "
        "the arm is the student without it",
        "a larger weight; or, where it is 0, other networks or images: maps of a single position say little",
    ),
    "slow": Sign(
        "slow convergence",
        f"accuracy still gains over {100 * LIMITS.still_gaining:g} points (and the noise) in the last "
        f"{100 * LIMITS.late:g} % of the epochs",
        "more epochs, a higher learning rate, a lighter projector or teacher",
    ),
    "collapse": Sign(
        "projector collapse",
        f"the uniformity of the embeddings ends above {LIMITS.collapsed:g}: they are almost equal",
        "a larger weight of the uniformity term, a lower learning rate, another projector",
    ),
    "overfitting": Sign(
        "overfitting",
        f"training accuracy of {100 * LIMITS.fitted:g} % or more, and test accuracy {100 * LIMITS.gap:g} points below",
        "augmentation, weight decay, fewer epochs, more images (`selection: {rule: best}` finds the epoch)",
    ),
    "published": Sign(
        "published weights at chance",
        f"a network tested with its published classifier is right no more often than one class in all, within "
        f"{LIMITS.noise:g} standard errors",
        "the names of the class folders (WordNet numbers or descriptions), other `mean` and `std`, other weights",
    ),
}


@dataclass(frozen=True)
class DetectedSign:
    """One sign in one run: its key in `SIGNS`, its strength (for choosing among seeds), and the numbers."""

    sign: str
    strength: float
    evidence: str


def in_curve(curve: Curve, train_images: int, validation_images: int, test_accuracy: float) -> list[DetectedSign]:
    """Signs in a training curve."""
    epochs = [row for row in curve if row.get("epoch", 0) > 0]  # a first stage has epochs up to 0
    signs = [
        _instability(epochs),
        _slowness(epochs, train_images, validation_images),
        _collapse(epochs),
        _overfitting(epochs, train_images, test_accuracy),
    ]
    return [sign for sign in signs if sign is not None]


def _instability(epochs: Curve) -> DetectedSign | None:
    losses = [float(row["loss"]) for row in epochs if "loss" in row]
    if len(losses) < LIMITS.least_epochs:
        return None
    steps = [after - before for before, after in itertools.pairwise(losses)]
    if max(steps) <= 0:
        return None
    usual = statistics.median(map(abs, steps))
    worst: DetectedSign | None = None
    lowest = list(itertools.accumulate(losses, min))
    for index, rise in enumerate(steps[1:], start=2):
        gain = losses[0] - lowest[index - 1]
        if gain > 0 and rise > LIMITS.spike * gain and rise > LIMITS.spike_times * usual:
            share = rise / gain
            if worst is None or share > worst.strength:
                rise_text = f"from {losses[index - 1]:.4g} to {losses[index]:.4g} in epoch {epochs[index]['epoch']}"
                worst = DetectedSign("unstable", share, f"loss {rise_text}, {100 * share:.0f} % of its gain")
    if worst is None and losses[-1] - losses[0] > LIMITS.spike_times * usual:
        return DetectedSign(
            "unstable", 0.0, f"loss {losses[0]:.4g} after the first epoch, {losses[-1]:.4g} after the last"
        )
    return worst


def _slowness(epochs: Curve, train_images: int, validation_images: int) -> DetectedSign | None:
    validates = bool(epochs) and "validation_accuracy" in epochs[-1]
    name = "validation_accuracy" if validates else "train_accuracy"
    values = [float(row[name]) for row in epochs if name in row]
    part = max(1, round(LIMITS.late * len(values)))
    images = validation_images if validates else train_images
    if len(values) < max(LIMITS.least_epochs, 2 * part) or not images:
        return None
    late, before = statistics.fmean(values[-part:]), statistics.fmean(values[-2 * part : -part])
    gain, needed = late - before, LIMITS.still_gaining + LIMITS.noise * _error(late, images)
    if gain <= needed:
        return None
    last = f"the last {part} epochs" if part > 1 else "the last epoch"
    kind = name.replace("_", " ").replace("train ", "training ")
    return DetectedSign("slow", gain, f"{kind} gained {100 * gain:.1f} points in {last}, to {100 * late:.1f} %")


def _collapse(epochs: Curve) -> DetectedSign | None:
    last = epochs[-1] if epochs else {}
    terms = {name: float(value) for name, value in last.items() if re.search(r"(^|\.)uniform( \d+)?$", name)}
    if len(epochs) < LIMITS.least_epochs or not terms or max(terms.values()) <= LIMITS.collapsed:
        return None
    name = max(terms, key=lambda term: terms[term])
    return DetectedSign("collapse", terms[name], f"{name} {terms[name]:.3g} after the last epoch")


def _overfitting(epochs: Curve, train_images: int, test_accuracy: float) -> DetectedSign | None:
    train_accuracy = float(epochs[-1].get("train_accuracy", 0.0)) if epochs else 0.0
    gap = train_accuracy - test_accuracy
    if train_accuracy < LIMITS.fitted or gap < LIMITS.gap:
        return None
    numbers = f"training accuracy {100 * train_accuracy:.1f} %, test accuracy {100 * test_accuracy:.1f} %"
    return DetectedSign("overfitting", gap, f"{numbers}, with {train_images:,} training images")


def in_answers(metrics: TrainingMetrics) -> list[DetectedSign]:
    """Signs in what a network gives for the test images; none in records that do not say."""
    return [sign for sign in (_one_class(metrics), _dead_embedding(metrics)) if sign is not None]


def in_gradients(metrics: TrainingMetrics) -> list[DetectedSign]:
    """The losses that hardly train the student, as one sign."""
    vanishing = metrics.gradients.vanishing(LIMITS.vanishing) if metrics.gradients is not None else {}
    if not vanishing:
        return []
    texts = [f"{name}: {share:.2g} of cross-entropy's gradient" for name, share in vanishing.items()]
    return [DetectedSign("vanishing", -min(vanishing.values()), "; ".join(texts))]


def _one_class(metrics: TrainingMetrics) -> DetectedSign | None:
    share, largest = metrics.top_class_share, metrics.largest_class_share
    if share is None or largest is None or largest == 1.0:
        return None
    if share < max(LIMITS.one_class, (1 + largest) / 2):
        return None
    unit = "the pixels of " if metrics.score == "miou" else ""
    numbers = f"one class for {100 * share:.4g} % of {unit}{metrics.test_count:,} test images"
    return DetectedSign("constant", share, f"{numbers}, of which the largest class has {100 * largest:.4g} %")


def _dead_embedding(metrics: TrainingMetrics) -> DetectedSign | None:
    spread, constant = metrics.embedding_spread, metrics.constant_dimensions
    if spread is None or constant is None:
        return None
    if spread < LIMITS.same_embedding:
        return DetectedSign("embedding", 1 - spread, f"embeddings differ by {100 * spread:.2g} % of their size")
    if constant > LIMITS.same_dimensions:
        return DetectedSign("embedding", constant, f"{100 * constant:.4g} % of the embedding's dimensions are constant")
    return None


def at_chance(accuracy: float, classes: int, images: float) -> DetectedSign | None:
    """A network as published that guesses: its outputs are other classes than the data set's, or its images others."""
    if classes < 2 or not images:
        return None
    chance = 1 / classes
    highest = chance + LIMITS.noise * _error(chance, images)
    if not accuracy <= highest <= LIMITS.above_chance:
        return None
    numbers = f"test accuracy {100 * accuracy:.2f} % on {classes} classes and {images:,.0f} images"
    return DetectedSign("published", highest - accuracy, f"{numbers}, chance {100 * chance:.2f} %")


def not_finite(reason: str) -> DetectedSign | None:
    """The sign of a run that failed since its loss, its weights or its outputs were not finite."""
    if re.match(r"loss is -?(nan|inf) |(weights|logits) are not finite ", reason) is None:
        return None
    return DetectedSign("unstable", math.inf, reason)


def below(name: str, baseline: float, accuracy: float, images: float, least: float) -> DetectedSign | None:
    """A distilled student against a baseline, mean test accuracies."""
    difference = baseline - accuracy
    if difference < least or difference <= _noise(baseline, accuracy, images):
        return None
    numbers = f"{100 * accuracy:.1f} % against {100 * baseline:.1f} % of {name}"
    return DetectedSign("baseline", difference, f"{numbers}: {100 * difference:.1f} points below")


def weaker_teacher(teacher: float, student: float, images: float, student_name: str) -> DetectedSign | None:
    """The teacher's test accuracy against that of its student."""
    difference = student - teacher
    if difference <= _noise(teacher, student, images):
        return None
    return DetectedSign("teacher", difference, f"teacher {100 * teacher:.1f} %, {student_name} {100 * student:.1f} %")


def under_floor(teacher: float, largest: float, classes: int) -> DetectedSign | None:
    """The teacher's mIoU against that of the answer that all pixels are of the largest class.

    Args:
        teacher: its mIoU.
        largest: share of the test images' pixels that are of the largest class.
        classes: of pixels.
    """
    constant = largest / classes
    if teacher >= constant + LIMITS.teacher_floor:
        return None
    numbers = f"teacher {100 * teacher:.1f} % mIoU, one class for all pixels {100 * constant:.1f} %"
    return DetectedSign("floor", constant + LIMITS.teacher_floor - teacher, numbers)


def without_boxes(teacher: float) -> DetectedSign | None:
    """A detection's teacher that finds next to nothing; `teacher` is its mAP."""
    if teacher >= LIMITS.teacher_floor:
        return None
    return DetectedSign("floor", LIMITS.teacher_floor - teacher, f"teacher {100 * teacher:.1f} % mAP")


def _noise(one: float, two: float, images: float) -> float:
    """Difference of two accuracies on that many test images that chance explains."""
    return LIMITS.noise * math.hypot(_error(one, images), _error(two, images))


def _error(accuracy: float, images: float) -> float:
    """Standard error of an accuracy measured on that many images."""
    return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / images)
