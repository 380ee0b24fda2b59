from __future__ import annotations

import math

import pytest
import torch

from benchbench.components import Component
from benchbench.losses.methods.head_kd import HeadKD, box_gaps, class_gaps
from benchbench.testing.losses import LossCase

NEEDS = frozenset({"teacher.logits", "boxes"})


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def entropy(p: float, target: float) -> float:
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def plain_class(student: list[float], teacher: list[float], temperature: float, power: int) -> float:
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, target = sigmoid(s / temperature), sigmoid(t / temperature)
        total += abs(p - target) ** power * entropy(p, target)
    return temperature**2 * total


def plain_giou(first: list[float], second: list[float]) -> float:
    """Of two boxes around one point, which so overlap: left, top, right, bottom are distances from it."""
    areas = [(left + right) * (top + bottom) for left, top, right, bottom in (first, second)]
    smaller, larger = ([pick(each) for each in zip(first, second, strict=True)] for pick in (min, max))
    overlap, hull = ((left + right) * (top + bottom) for left, top, right, bottom in (smaller, larger))
    union = sum(areas) - overlap
    return overlap / union - (hull - union) / hull


@pytest.mark.parametrize(("temperature", "power"), [(1.0, 1), (2.0, 0), (0.5, 2)])
def test_classes(temperature, power):
    random = torch.Generator().manual_seed(0)
    s, t = (3 * torch.randn(2, 3, 4, generator=random, dtype=torch.float64) for _ in range(2))
    values = class_gaps(s, t, temperature, power)
    for i, a in [(i, a) for i in range(2) for a in range(3)]:
        expected = plain_class(s[i, a].tolist(), t[i, a].tolist(), temperature, power)
        assert values[i, a].item() == pytest.approx(expected, rel=1e-12)
    assert class_gaps(t, t, temperature, 1).abs().max() == 0


def test_boxes():
    random = torch.Generator().manual_seed(0)
    s, t = (4 * torch.rand(2, 3, 4, generator=random, dtype=torch.float64) for _ in range(2))
    values = box_gaps(s, t)
    for i, a in [(i, a) for i in range(2) for a in range(3)]:
        assert values[i, a].item() == pytest.approx(1 - plain_giou(s[i, a].tolist(), t[i, a].tolist()), abs=1e-6)
    assert box_gaps(t, t).abs().max() < 1e-6


def step():
    case = LossCase(Component("head_kd", "any:any", needs=NEEDS))
    return case.context(), *case.step()


def test_terms():
    context, student, teacher, batch = step()
    terms = HeadKD(context, temperature=2.0, giou=0.5, centerness=3.0)(student, teacher, batch)
    classes = boxes = centers = weights = 0.0
    for i in range(len(teacher.logits)):
        for a in range(len(teacher.boxes.points)):
            logits = teacher.logits[i, a].tolist()
            weight = max(map(sigmoid, logits))
            classes += plain_class(student.logits[i, a].tolist(), logits, 2.0, 1)
            distances = [side.boxes.distances[i, a].tolist() for side in (student, teacher)]
            boxes += 0.5 * weight * (1 - plain_giou(*distances))
            own, target = (sigmoid(side.boxes.centerness[i, a].item()) for side in (student, teacher))
            centers += 3 * weight * entropy(own, target)
            weights += weight
    expected = {"classes": classes / weights, "boxes": boxes / weights, "centerness": centers / weights}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_a_teacher_that_sees_nothing_counts_little():
    context, student, teacher, batch = step()
    teacher.logits = torch.full_like(teacher.logits, -30.0)
    terms = HeadKD(context)(student, teacher, batch)
    assert terms["boxes"] < 1e-9
    assert terms["centerness"] < 1e-9
    assert terms["classes"] > 1
