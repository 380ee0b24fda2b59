from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.ickd import ICKD, channel_correlation_gap


def correlations(features: np.ndarray) -> np.ndarray:
    """[C, C] of one map [C, H, W], every row divided by its norm."""
    count = len(features)
    matrix = np.array([[(features[i] * features[j]).sum() for j in range(count)] for i in range(count)])
    return np.array([row / math.sqrt((row * row).sum()) for row in matrix])


def reference(student: np.ndarray, teacher: np.ndarray) -> float:
    gaps = [((correlations(s) - correlations(t)) ** 2).sum() for s, t in zip(student, teacher, strict=True)]
    return sum(gaps) / len(gaps) / student.shape[1]


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 2, 5)), rng.normal(size=(3, 4, 3, 3)) + 0.5


def test_value(maps):
    assert channel_correlation_gap(*map(torch.tensor, maps)).item() == pytest.approx(reference(*maps), rel=1e-12)


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss = ICKD(context)
    f_student, f_teacher = (side.features[-1].detach().double().numpy() for side in (student, teacher))
    weight = loss.connector[0].weight.detach().double().numpy()[:, :, 0, 0]
    connected = np.einsum("oc,bchw->bohw", weight, f_student)
    connected -= connected.mean(axis=(0, 2, 3), keepdims=True)
    connected /= np.sqrt(connected.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    terms = loss(student, teacher, batch)
    assert list(terms) == ["ickd"]
    assert terms["ickd"].item() == pytest.approx(reference(connected, f_teacher), rel=1e-4)


def test_neither_place_nor_scale_nor_size_matters(maps):
    f_teacher = torch.tensor(maps[1])
    shuffled = 3 * f_teacher.flatten(2)[:, :, torch.randperm(9)].repeat(1, 1, 2).unflatten(2, (6, 3))
    assert channel_correlation_gap(shuffled, f_teacher).item() == pytest.approx(0, abs=1e-28)
    assert channel_correlation_gap(f_teacher.roll(1, dims=1), f_teacher) > 1e-3


def test_dead_channels_leave_the_gradient_finite():
    student = torch.zeros(2, 3, 2, 2, requires_grad=True)
    value = channel_correlation_gap(student, torch.randn(2, 3, 2, 2))
    value.backward()
    assert value.item() == pytest.approx(1)  # three unit rows of the teacher's to three of zeros
    assert student.grad.isfinite().all()


def test_the_connector(context):
    convolution, norm = ICKD(context).connector
    assert convolution.weight.shape == (11, 6, 1, 1)
    assert convolution.bias is None
    assert isinstance(norm, nn.BatchNorm2d)
