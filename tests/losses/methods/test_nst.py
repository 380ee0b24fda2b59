from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.nst import NST, kernel_mean, selectivity_gap
from tests.losses.plain import pooled


def kernel_sum(xs: np.ndarray, ys: np.ndarray) -> float:
    """Mean over pairs of channels of (cosine over the image)^2."""
    total = 0.0
    for x in xs:
        for y in ys:
            total += ((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum())) ** 2
    return total / (len(xs) * len(ys))


def reference(student: np.ndarray, teacher: np.ndarray) -> float:
    gaps = [kernel_sum(t, t) + kernel_sum(s, s) - 2 * kernel_sum(s, t) for s, t in zip(student, teacher, strict=True)]
    return sum(gaps) / len(gaps)


# Few channels on large maps, many on small ones, and in between: every way of computing the kernel.
@pytest.mark.parametrize(("channels", "side"), [((2, 3), 4), ((9, 11), 2), ((2, 11), 2)])
def test_value(channels, side):
    rng = np.random.default_rng(side)
    student, teacher = (rng.normal(size=(3, c, side, side)) for c in channels)
    value = selectivity_gap(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(reference(student, teacher), rel=1e-9)


def test_both_ways_of_computing_the_kernel_agree():
    x, y = torch.randn(2, 5, 9, dtype=torch.float64), torch.randn(2, 7, 9, dtype=torch.float64)
    padded = [torch.cat([z, torch.zeros(2, 20, 9, dtype=torch.float64)], dim=1) for z in (x, y)]
    ratio = (25 * 27) / (5 * 7)  # channels that are 0 only enlarge the divisor
    torch.testing.assert_close(kernel_mean(*padded) * ratio, kernel_mean(x, y))


def test_the_larger_map_is_averaged_down():
    rng = np.random.default_rng(7)
    student, teacher = rng.normal(size=(2, 3, 5, 5)), rng.normal(size=(2, 4, 3, 3))
    expected = reference(pooled(student, 3), teacher)
    assert selectivity_gap(torch.tensor(student), torch.tensor(teacher)).item() == pytest.approx(expected, rel=1e-9)
    assert selectivity_gap(torch.tensor(teacher), torch.tensor(student)).item() == pytest.approx(expected, rel=1e-9)


def test_order_sign_and_scale_of_channels_do_not_count():
    teacher = torch.randn(3, 5, 4, 4, dtype=torch.float64)
    scale = torch.tensor([1.0, -2.0, 3.0, -0.1, 7.0]).view(5, 1, 1)
    student = (scale * teacher).flip(1).repeat(1, 2, 1, 1)
    assert selectivity_gap(student, teacher).item() == pytest.approx(0, abs=1e-12)
    assert selectivity_gap(student.roll(1, dims=3), teacher) > 0.01


def test_a_dead_channel_has_a_finite_gradient():
    student = torch.randn(2, 3, 4, 4)
    student[:, 1] = 0
    student.requires_grad_()
    selectivity_gap(student, torch.randn(2, 5, 4, 4)).backward()
    assert student.grad.isfinite().all()


def test_the_term_is_the_sum_over_the_pairs(context, make_step):
    student, teacher, batch = make_step()
    expected = 0.0
    for s, t, size in ((0, 1, 6), (1, 2, 4), (2, 3, 2)):  # the last three of the teacher's four maps
        maps = [side.features[i].detach().double().numpy() for side, i in ((student, s), (teacher, t))]
        expected += reference(*(pooled(x, size) for x in maps))
    terms = NST(context)(student, teacher, batch)
    assert list(terms) == ["nst"]
    assert terms["nst"].item() == pytest.approx(expected, rel=1e-4)
