"""Scores of a detection from the boxes that are found in images and those that are there, as COCO counts them.

Rows of an image [L, 7] are boxes: left, top, right, bottom, class, score, and the kind: 1 is a box that was found, 2
one that is there, 3 and 4 those that count neither as found nor as missed: 3 a group of objects, which a box lies in, 4
a hard object, which it overlaps as any other; 0 fills up. COCO's rules are those of Lin et al. 2014, "Microsoft COCO:
Common Objects in Context" (arXiv 1405.0312), as their evaluation code applies them; hard objects are of Everingham et
al. 2015, "The Pascal Visual Object Classes Challenge: A Retrospective".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DETECTED, OBJECT, IGNORED_GROUP = 1, 2, 3
# Overlaps from which on a box counts as found: 0.5, 0.55, ... 0.95.
OVERLAPS = np.linspace(0.5, 0.95, 10)
# At which precision is read.
RECALLS = np.linspace(0, 1, 101)
EPSILON = np.spacing(1)


@dataclass(frozen=True)
class Matches:
    """Boxes that were found in N images, D in all, the highest score first, and what became of each.

    Attributes:
        images, classes, scores: of each [D].
        right: an object of its class is there, by overlap [T, D].
        ignored: it counts neither as right nor as wrong, by overlap [T, D].
        objects: that are there, by image and class [N, C].
    """

    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


def match(rows: np.ndarray) -> Matches:
    """Matches the found boxes of each image with those that are there.

    In each image and class, boxes choose in the order of their scores: of the objects that no other has taken, that
    with the largest overlap; a box to be ignored where there is none, which several may take.

    Args:
        rows: of every image [N, L, 7].
    """
    classes = int(rows[..., 4].max(initial=0)) + 1
    objects = np.zeros((len(rows), classes), np.int64)
    parts: list[tuple[np.ndarray, ...]] = []
    for image, boxes in enumerate(rows):
        found = boxes[boxes[:, 6] == DETECTED]
        there = boxes[boxes[:, 6] >= OBJECT]
        real = there[there[:, 6] == OBJECT, 4].astype(int)
        objects[image] = np.bincount(real, minlength=classes)
        for number in np.unique(found[:, 4]):
            own = found[found[:, 4] == number]
            own = own[np.argsort(-own[:, 5], kind="stable")]
            right, ignored = _chosen(own, there[there[:, 4] == number])
            parts.append((own[:, 5], np.full(len(own), image), own[:, 4].astype(int), right, ignored))
    if not parts:
        none, nothing = np.zeros(0, np.int64), np.zeros((len(OVERLAPS), 0), bool)
        return Matches(none, none, np.zeros(0, rows.dtype), nothing, nothing, objects)
    scores, images, numbers = (np.concatenate([part[place] for part in parts]) for place in range(3))
    right, ignored = (np.concatenate([part[place] for part in parts], 1) for place in (3, 4))
    order = np.argsort(-scores, kind="stable")
    return Matches(images[order], numbers[order], scores[order], right[:, order], ignored[:, order], objects)


def _chosen(found: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the boxes of one image and class, those that are right and those that are ignored, by overlap: [T, D] each."""
    there = there[np.argsort(there[:, 6], kind="stable")]  # objects come before boxes to be ignored
    spare = there[:, 6] > OBJECT
    overlaps = box_overlaps(found, there, there[:, 6] == IGNORED_GROUP)
    right, ignored = (np.zeros((len(OVERLAPS), len(found)), bool) for _ in range(2))
    if not len(there):
        return right, ignored
    taken = np.zeros((len(OVERLAPS), len(there)), bool)
    levels, least = np.arange(len(OVERLAPS)), np.minimum(OVERLAPS, 1 - 1e-10)[:, None]
    for place, values in enumerate(overlaps):
        free = (values >= least) & (~taken | spare)
        # Objects first, whatever the overlap with a box to be ignored; of equal overlaps the last one.
        preference = np.where(free, values + np.where(spare, 0.0, 2.0), -1.0)
        best = len(there) - 1 - preference[:, ::-1].argmax(1)
        some = preference[levels, best] >= 0
        taken[levels[some], best[some]] = True
        ignored[:, place], right[:, place] = some & spare[best], some & ~spare[best]
    return right, ignored


def box_overlaps(found: np.ndarray, there: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Intersections over unions of boxes [D, 4 and more] with others [G, 4 and more]: [D, G].

    Args:
        found, there: their first four columns are corners.
        group: of the others, groups [G]: what lies in one is divided by the first box's area.
    """
    found, there = found[:, :4].astype(np.float64), there[:, :4].astype(np.float64)
    low = np.maximum(found[:, None, :2], there[None, :, :2])
    high = np.minimum(found[:, None, 2:], there[None, :, 2:])
    common = (high - low).clip(0).prod(-1)
    areas, others = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (found, there))
    whole = np.where(group, areas[:, None], areas[:, None] + others - common)
    return np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


def average_precisions(matches: Matches, counts: np.ndarray | None = None) -> np.ndarray:
    """Average precision by overlap and class [T, C], 0..1; NaN for a class without objects.

    The mean over 101 recalls of the highest precision at that recall or a higher one.

    Args:
        matches: of all images.
        counts: how often each image counts [N]; None for once.
    """
    weights = np.ones(len(matches.objects)) if counts is None else counts.astype(np.float64)
    totals = weights @ matches.objects
    values = np.full((len(OVERLAPS), len(totals)), np.nan)
    for number in np.flatnonzero(totals):
        own = matches.classes == number
        times = weights[matches.images[own]]
        right = np.cumsum(times * matches.right[:, own], 1)
        wrong = np.cumsum(times * ~(matches.right[:, own] | matches.ignored[:, own]), 1)
        precision = right / (right + wrong + EPSILON)
        highest = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        for level, recall in enumerate(right / totals[number]):
            places = np.searchsorted(recall, RECALLS, side="left")
            reached = places[places < len(recall)]
            values[level, number] = highest[level, reached].sum() / len(RECALLS)
    return values


def mean_average_precision(precisions: np.ndarray) -> float:
    """Mean over overlaps and over classes with objects of average precisions [T, C], 0..1; NaN where there is none."""
    return float("nan") if np.isnan(precisions).all() else float(np.nanmean(precisions))


def f1_scores(matches: Matches, least: float) -> np.ndarray:
    """F1 of each image [N], 0..1: the harmonic mean of precision and recall, at an overlap of 0.5.

    NaN where no object is there and no box was found.

    Args:
        matches: of all images.
        least: score of the boxes that count as found, at least.
    """
    counted = (matches.scores >= least) & ~matches.ignored[0]
    right, found = (
        np.bincount(matches.images[chosen], minlength=len(matches.objects))
        for chosen in (counted & matches.right[0], counted)
    )
    both = found + matches.objects.sum(1)
    return np.divide(2.0 * right, both, out=np.full(len(both), np.nan), where=both > 0)


def best_score(matches: Matches) -> float:
    """The score from which on the found boxes have the highest F1 over all images together; 1 where none is right."""
    right = np.cumsum(matches.right[0])
    if not len(right) or not right[-1]:
        return 1.0
    f1 = 2 * right / (np.cumsum(~matches.ignored[0]) + matches.objects.sum())
    f1[:-1][matches.scores[:-1] == matches.scores[1:]] = -1  # boxes of one score count together
    return float(matches.scores[f1.argmax()])
