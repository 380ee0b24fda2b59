from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.components import Component
from benchbench.losses.methods.fgd import FGD, GlobalContext, focal_gaps, region_scales
from benchbench.testing.losses import LossCase
from tests.losses.plain import array, pooled, softmax

NEEDS = frozenset({"teacher", "features", "boxes"})
PIXELS, SIZE = (12, 16), (3, 4)  # positions are squares of 4 pixels
# Columns of a box: left, top, right, bottom, class, ignored.
BOXES = [
    [[0, 0, 16, 12, 1, 0], [5, 1, 9, 4, 0, 0], [0, 8, 4, 12, 2, 1]],
    [[3, 4, 4, 12, 0, 0], [3, 6, 9, 8, 0, 0], [0, 0, 16, 12, -1, 0]],
    [[0, 0, 0, 0, -1, 0], [0, 0, 8, 8, 2, 1], [0, 0, 0, 0, -1, 0]],
]


def plain_scales(boxes, pixels, size) -> tuple[np.ndarray, np.ndarray]:
    """Position by position, in one image."""
    inside, cell = np.zeros(size), (pixels[0] / size[0], pixels[1] / size[1])
    for left, top, right, bottom, number, ignored in boxes:
        if number < 0 or ignored:
            continue
        covered = [
            (i, j)
            for i, j in np.ndindex(size)
            if top < (i + 1) * cell[0] and bottom > i * cell[0] and left < (j + 1) * cell[1] and right > j * cell[1]
        ]
        for place in covered:
            inside[place] = max(inside[place], 1 / len(covered))
    outside = (inside == 0).astype(float)
    return inside, outside / max(outside.sum(), 1)


def plain_focal(f_student, f_teacher, boxes, pixels, temperature) -> list[float]:
    totals = np.zeros(3)
    for student, teacher, own in zip(f_student, f_teacher, boxes, strict=True):
        channels, size = len(student), student.shape[1:]
        spatial, channel = [], []
        for maps in (student, teacher):
            sizes = abs(maps)
            each = softmax(sizes.mean(axis=0), temperature)
            spatial.append(math.prod(size) * np.reshape(each, size))
            channel.append(channels * np.array(softmax(sizes.mean(axis=(1, 2)), temperature)))
        inside, outside = plain_scales(own, pixels, size)
        for c, i, j in np.ndindex(student.shape):
            gap = spatial[1][i, j] * channel[1][c] * (teacher[c, i, j] - student[c, i, j]) ** 2
            totals[:2] += inside[i, j] * gap, outside[i, j] * gap
        totals[2] += abs(spatial[1] - spatial[0]).sum() + abs(channel[1] - channel[0]).sum()
    return list(totals / len(f_student))


def plain_context(module: GlobalContext, features: np.ndarray) -> np.ndarray:
    """R of one image's map [C, H, W]."""
    first, norm, _, last = module.transform
    key, shift = array(module.key.weight)[0, :, 0, 0], array(module.key.bias)
    vectors = features.reshape(len(features), -1)
    context = vectors @ softmax(key @ vectors + shift)
    hidden = array(first.weight) @ context + array(first.bias)
    hidden = (hidden - hidden.mean()) / math.sqrt(hidden.var() + norm.eps) * array(norm.weight) + array(norm.bias)
    return features + (array(last.weight) @ np.maximum(hidden, 0) + array(last.bias))[:, None, None]


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 5, *SIZE)), rng.normal(size=(3, 5, *SIZE))


def test_the_smallest_box_of_a_position_counts():
    inside, outside = region_scales(torch.tensor(BOXES, dtype=torch.float64), PIXELS, SIZE)
    expected = [plain_scales(each, PIXELS, SIZE) for each in BOXES]
    assert array(inside) == pytest.approx(np.stack([each[0] for each in expected]))
    assert array(outside) == pytest.approx(np.stack([each[1] for each in expected]))
    assert inside[0].tolist() == [[1 / 12, 1 / 2, 1 / 2, 1 / 12], [1 / 12] * 4, [1 / 12] * 4]
    assert (outside[0].sum(), inside[2].sum()) == (0, 0)
    assert outside[2].unique().tolist() == [1 / 12]


@pytest.mark.parametrize("temperature", [0.5, 0.8])
def test_focal_part(maps, temperature):
    scales = region_scales(torch.tensor(BOXES, dtype=torch.float64), PIXELS, SIZE)
    values = focal_gaps(*map(torch.tensor, maps), scales, temperature)
    assert [each.item() for each in values] == pytest.approx(plain_focal(*maps, BOXES, PIXELS, temperature), rel=1e-12)


def test_global_part(maps):
    torch.manual_seed(0)
    module = GlobalContext(5).double()
    assert torch.equal(module(torch.tensor(maps[0])), torch.tensor(maps[0]))  # its last layer is 0 at first
    torch.nn.init.normal_(module.transform[-1].weight)
    expected = np.stack([plain_context(module, each) for each in maps[0]])
    assert array(module(torch.tensor(maps[0]))) == pytest.approx(expected, rel=1e-12)


def test_terms():
    """The student's head reads its maps of 4 x 4 and 2 x 2; nearest among the teacher's 12, 6, 4 and 3 are 4 and 3."""
    case = LossCase(Component("fgd", "any:any", needs=NEEDS))
    student, teacher, batch = case.step()
    loss = FGD(case.context(), relation=2.0, gamma=0.25)
    terms = loss(student, teacher, batch)
    expected = np.zeros(4)
    for level, (s, t, side) in enumerate([(1, 2, 4), (2, 3, 2)]):
        convolution = loss.connectors[level][0]
        weight, bias = array(convolution.weight)[:, :, 0, 0], array(convolution.bias)
        f_student = np.einsum("dc,bcij->bdij", weight, array(student.features[s])) + bias[:, None, None]
        f_teacher = pooled(array(teacher.features[t]), side)
        own, others = loss.contexts_student[level], loss.contexts_teacher[level]
        gaps = [plain_context(others, b) - plain_context(own, a) for a, b in zip(f_student, f_teacher, strict=True)]
        focal = plain_focal(f_student, f_teacher, batch.boxes.tolist(), (16, 16), 0.5)
        expected += *focal, sum((gap**2).sum() for gap in gaps) / len(gaps)
    assert list(terms) == ["foreground", "background", "attention", "relation"]
    assert [each.item() for each in terms.values()] == pytest.approx(expected * [1e-3, 5e-4, 0.25, 2], rel=1e-5)
