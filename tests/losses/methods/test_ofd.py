from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.ofd import OFD, Margin, partial_distance
from tests.losses.plain import connected, pooled


def reference(student: np.ndarray, teacher: np.ndarray, margin: np.ndarray) -> float:
    total = 0.0
    for (_, channel, _, _), s, t in zip(np.ndindex(student.shape), student.flat, teacher.flat, strict=True):
        target = t if t > margin[channel] else margin[channel]
        if not s <= target <= 0:
            total += (target - s) ** 2
    return total / len(student)


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 2, 5)), rng.normal(size=(3, 4, 2, 5))


@pytest.mark.parametrize("margin", [[0, 0, 0, 0], [-0.1, -0.5, -2, 0]])
def test_value(maps, margin):
    value = partial_distance(*map(torch.tensor, maps), torch.tensor(margin, dtype=torch.float64))
    assert value.item() == pytest.approx(reference(*maps, np.array(margin)), rel=1e-12)


def test_a_student_below_a_silent_teacher_is_left_alone():
    student = torch.tensor([-3.0, -1.0, -0.2, 0.4]).view(1, 1, 2, 2).requires_grad_()
    partial_distance(student, torch.full((1, 1, 2, 2), -5.0), torch.tensor([-1.0])).backward()
    # The target is the margin, -1: only what lies above it is drawn down.
    torch.testing.assert_close(student.grad.flatten(), torch.tensor([0.0, 0.0, 1.6, 2.8]))


def test_what_agrees_with_the_margin_relu_is_no_loss(maps):
    margin = torch.tensor([-0.1, -0.5, -2, 0])
    teacher = torch.tensor(maps[1]).float()
    student = torch.maximum(teacher, margin[:, None, None])
    assert partial_distance(student, teacher, margin) == 0
    assert partial_distance(student + 0.1, teacher, margin) > 0


def test_the_margin_is_the_mean_of_all_negative_values_so_far():
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randn(size, 3, 2, 2, generator=generator) for size in (2, 7, 1)]
    for batch in batches:
        batch[:, 1] = batch[:, 1].abs()  # a channel without negative values
    batches[0][:, 2] = 1  # one whose first come late
    batches[1][0] = 0  # which is not negative
    margin = Margin(3)
    for batch in batches:
        values = margin(batch)
    columns = torch.cat(batches).double().transpose(0, 1).flatten(1)
    means = [columns[channel][columns[channel] < 0].mean().item() for channel in (0, 2)]
    assert values.tolist() == pytest.approx([means[0], 0, means[1]], rel=1e-5)


def test_the_margin_rests_in_evaluation():
    margin = Margin(2)
    margin(-torch.ones(1, 2, 1, 1))
    assert margin.eval()(torch.full((1, 2, 1, 1), -9.0)).tolist() == [-1, -1]
    assert margin.count.tolist() == [1, 1]


def test_the_margin_of_a_teacher_after_relu_is_zero(context, make_step):
    student, teacher, batch = make_step()
    teacher.features = [features.relu() for features in teacher.features]
    loss = OFD(context)
    loss(student, teacher, batch)
    assert all(not margin.mean.any() for margin in loss.margins)


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss = OFD(context)
    expected = 0.0
    # Three maps of the student, the last three of the teacher's four; the smaller size of each pair.
    for level, (s, t, size, weight) in enumerate(((0, 1, 6, 1 / 4), (1, 2, 4, 1 / 2), (2, 3, 2, 1))):
        f_student, f_teacher = (
            pooled(side.features[i].detach().double().numpy(), size) for side, i in ((student, s), (teacher, t))
        )
        margin = np.array([x[x < 0].mean() for x in f_teacher.swapaxes(0, 1)])
        kernel = loss.connectors[level][0].weight.detach().double().numpy()[:, :, 0, 0]
        expected += weight * reference(connected(f_student, kernel), f_teacher, margin)
    terms = loss(student, teacher, batch)
    assert list(terms) == ["ofd"]
    assert terms["ofd"].item() == pytest.approx(expected, rel=1e-4)


def test_connectors_start_normal_by_the_channels_that_come_out(context):
    wide = replace(context, student_features=[(96, 8, 8)] * 3, teacher_features=[(160, 8, 8)] * 3)
    torch.manual_seed(0)
    for convolution, norm in OFD(wide).connectors:
        values = convolution.weight.detach().double()
        assert tuple(values.shape) == (160, 96, 1, 1)
        # Of 15360 normal numbers the deviation is off by 0.6% (one sigma), and the kurtosis is 3 give or take 0.04.
        assert values.std().item() == pytest.approx(math.sqrt(2 / 160), rel=0.03)
        assert (values / values.std()).pow(4).mean().item() == pytest.approx(3, abs=0.2)
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


def test_the_connectors_train_and_the_margins_do_not(context):
    loss = OFD(context)
    assert {name.split(".")[0] for name, _ in loss.named_parameters()} == {"connectors"}
    assert [tuple(margin.mean.shape) for margin in loss.margins] == [(6,), (8,), (11,)]
    assert all(isinstance(connect[1], nn.BatchNorm2d) for connect in loss.connectors)
