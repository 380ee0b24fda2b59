from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.methods.cwd import CWD, channel_kl
from tests.losses.plain import softmax


def reference(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    total = 0.0
    for b, c in np.ndindex(student.shape[:2]):
        s, t = softmax(student[b, c], temperature), softmax(teacher[b, c], temperature)
        total += sum(p * (math.log(p) - math.log(q)) for p, q in zip(t, s, strict=True))
    return temperature**2 * total / student.shape[0] / student.shape[1]


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(scale=3, size=(3, 4, 2, 5)), rng.normal(scale=3, size=(3, 4, 2, 5))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_value(maps, temperature):
    value = channel_kl(*map(torch.tensor, maps), temperature)
    assert value.item() == pytest.approx(reference(*maps, temperature), rel=1e-12)


@pytest.mark.parametrize(("params", "temperature"), [({}, 4.0), ({"temperature": 2.0}, 2.0)])
def test_term(context, make_step, params, temperature):
    student, teacher, batch = make_step()
    f_student, f_teacher = (side.features[-1].detach().double().numpy() for side in (student, teacher))
    # The teacher's 3x3 map at the student's 2x2: bins of 2x2 that overlap.
    f_teacher = np.stack(
        [np.stack([f_teacher[:, :, i : i + 2, j : j + 2].mean(axis=(2, 3)) for j in (0, 1)], axis=2) for i in (0, 1)],
        axis=2,
    )
    loss = CWD(context, **params)
    weight, bias = (parameter.detach().double().numpy() for parameter in loss.connector.parameters())
    connected = np.einsum("oc,bchw->bohw", weight[:, :, 0, 0], f_student) + bias[:, None, None]
    terms = loss(student, teacher, batch)
    assert list(terms) == ["cwd"]
    assert terms["cwd"].item() == pytest.approx(reference(connected, f_teacher, temperature), rel=1e-4)


def test_a_shift_of_a_channel_does_not_matter_and_a_scale_does(maps):
    f_teacher = torch.tensor(maps[1])
    shift = torch.randn(3, 4, 1, 1)
    assert channel_kl(f_teacher + shift, f_teacher).item() == pytest.approx(0, abs=1e-12)
    assert channel_kl(2 * f_teacher, f_teacher) > 1e-2


def test_maps_of_equal_width_are_compared_as_they_are(context, make_step):
    context.student_features[-1] = context.teacher_features[-1]
    student, teacher, batch = make_step()
    student.features[-1] = teacher.features[-1].detach()
    loss = CWD(context)
    assert isinstance(loss.connector, nn.Identity)
    assert loss(student, teacher, batch)["cwd"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("student", "teacher"), [((1, 1), (3, 3)), ((2, 2), (1, 1)), ((1, 3), (3, 1))])
def test_a_single_position_is_refused(context, student, teacher):
    context.student_features[-1], context.teacher_features[-1] = (6, *student), (11, *teacher)
    with pytest.raises(StageError, match="but one position; take larger images or other networks"):
        CWD(context)


def test_a_row_of_positions_is_not(context):
    context.student_features[-1] = (6, 1, 2)
    CWD(context)
