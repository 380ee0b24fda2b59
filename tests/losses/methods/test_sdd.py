from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.catalog.features import SDDParams
from benchbench.losses.methods.sdd import SDD
from tests.losses.plain import array, softmax

T, ALPHA, BETA, GAMMA = 2.0, 0.5, 3.0, 1.2


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def of_cell(base: str, s: np.ndarray, t: np.ndarray, y: int) -> float:
    if base == "kd":
        return T * T * kl(softmax(t, T), softmax(s, T))
    rest = [softmax(np.delete(z, y), T) for z in (s, t)]
    if base == "dkd":
        p_s, p_t = softmax(s, T)[y], softmax(t, T)[y]
        return T * T * (ALPHA * kl([p_t, 1 - p_t], [p_s, 1 - p_s]) + BETA * kl(rest[1], rest[0]))
    others = sum(a * math.log(b) for a, b in zip(rest[1], rest[0], strict=True))
    return -softmax(t)[y] * math.log(softmax(s)[y]) - GAMMA * T * T * others


def means(feature: np.ndarray, cells: int) -> list[np.ndarray]:
    """The means [C] of the cells of a map [C, H, H], row by row; neighbouring cells overlap where they must."""
    side = feature.shape[1]
    edges = [(i * side // cells, math.ceil((i + 1) * side / cells)) for i in range(cells)]
    return [feature[:, a:b, c:d].mean(axis=(1, 2)) for a, b in edges for c, d in edges]


def reference(base, heads, student, teacher, labels, scales) -> float:
    total, count = 0.0, 0
    for i, y in enumerate(labels):
        both = []
        for side, head in zip((student, teacher), heads, strict=True):
            cells = [cell for scale in scales for cell in means(array(side.features[-1])[i], scale)]
            both.append([array(side.logits)[i], *(array(head.weight) @ cell + array(head.bias) for cell in cells)])
        whole_is_right = int(np.argmax(both[1][0])) == y
        for s, t in zip(*both, strict=True):
            total += (1 if (int(np.argmax(t)) == y) == whole_is_right else 2) * of_cell(base, s, t, y)
            count += 1
    return total / count


@pytest.mark.parametrize("base", ["kd", "dkd", "nkd"])
def test_value(context, make_step, base):
    context.student_features[-1], context.teacher_features[-1] = (6, 5, 5), (11, 4, 4)
    student, teacher, batch = make_step(dtype=torch.float64)
    student.features[-1] = torch.randn(7, 6, 5, 5, dtype=torch.float64)
    teacher.features[-1] = torch.randn(7, 11, 4, 4, dtype=torch.float64)
    loss = SDD(context, base=base, temperature=T, alpha=ALPHA, beta=BETA, gamma=GAMMA)
    for head in loss.heads:
        head.double()
    value = loss(student, teacher, batch)["sdd"].item()
    expected = reference(base, loss.heads, student, teacher, batch.labels.tolist(), [2, 4])
    assert value == pytest.approx(expected, rel=1e-6)  # the weights are float32


def test_scales_without_room_are_left_out(context):
    assert SDD(context).scales == [2]  # maps of 2x2 and 3x3
    context.student_features[-1] = (6, 1, 1)
    with pytest.raises(StageError, match="the last map, and it is too small; take larger images, or kd"):
        SDD(context)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([1], "1 is the image itself; write a scale over 1 too, or take kd"),
        ([2, 2], "a scale is there twice"),
        ([0, 2], "greater than or equal to 1"),
        ([-2], "greater than or equal to 1"),
    ],
)
def test_scales_that_are_no_grids_are_refused(scales, message):
    with pytest.raises(ValidationError, match=message):
        SDDParams(scales=scales)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_an_embedding_that_is_not_the_mean_of_the_last_map_is_refused(context, side):
    setattr(context, f"{side}_pools", False)
    with pytest.raises(StageError, match=f"this {side}'s is not .*; take kd, or another {side}"):
        SDD(context)


def test_warm_up(context, make_step):
    student, teacher, batch = make_step()
    whole = SDD(context)(student, teacher, batch)["sdd"].item()
    batch.epoch = 5.0
    assert SDD(context, warmup_epochs=20)(student, teacher, batch)["sdd"].item() == pytest.approx(whole / 4)


@pytest.mark.parametrize(
    ("head", "message"),
    [(nn.Linear(5, 5), "the map has 6 channels and the classifier takes 5"), (nn.Identity(), "a linear classifier")],
)
def test_a_classifier_that_cannot_read_the_map_is_refused(context, head, message):
    context.student_head = head
    with pytest.raises(StageError, match=message):
        SDD(context)
