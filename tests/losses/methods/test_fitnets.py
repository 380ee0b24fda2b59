from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.fitnets import FitNets, hint_error


def test_value():
    rng = np.random.default_rng(0)
    regressed, hint = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    expected = sum((regressed[at] - hint[at]) ** 2 for at in np.ndindex(2, 3, 4, 5)) / (2 * 3 * 4 * 5)
    assert hint_error(torch.tensor(regressed), torch.tensor(hint)).item() == pytest.approx(expected, rel=1e-12)


def enlarged(x: np.ndarray, size: int) -> np.ndarray:
    nearest = [i * x.shape[2] // size for i in range(size)]
    return x[:, :, nearest][:, :, :, nearest]


def regressed(x: np.ndarray, weight: np.ndarray, relu: bool) -> np.ndarray:
    y = np.empty((len(x), len(weight), *x.shape[2:]))
    for b, c, i, j in np.ndindex(y.shape):
        y[b, c, i, j] = sum(w * v for w, v in zip(weight[c], x[b, :, i, j], strict=True))
    for c in range(len(weight)):
        y[:, c] = (y[:, c] - y[:, c].mean()) / np.sqrt(y[:, c].var() + 1e-5)
    return y.clip(0) if relu else y


@pytest.mark.parametrize("relu", [False, True])
def test_the_maps_at_half_the_depth_are_compared(context, make_step, relu):
    student, teacher, batch = make_step()
    loss = FitNets(context, relu=relu)
    # Of the student's maps of sides 8, 4 and 2, and the teacher's of 12, 6, 4 and 3.
    guided, hint = (side.features[1].detach().double().numpy() for side in (student, teacher))
    weight = loss.regressor[0].weight.detach().double().numpy()[:, :, 0, 0]
    expected = ((regressed(enlarged(guided, 6), weight, relu) - hint) ** 2).mean()
    terms = loss(student, teacher, batch)
    assert list(terms) == ["fitnets"]
    assert terms["fitnets"].item() == pytest.approx(expected, rel=1e-4)


def test_a_student_whose_map_is_the_teacher_s_has_no_loss(context, make_step):
    student, teacher, batch = make_step()
    context.student_features = context.teacher_features
    loss = FitNets(context)
    loss.regressor = nn.Identity()
    student.features = [features.clone() for features in teacher.features]
    assert loss(student, teacher, batch)["fitnets"] == 0
    student.features[1] = student.features[1] + 1
    assert loss(student, teacher, batch)["fitnets"].item() == pytest.approx(1)


def test_the_regressor_is_linear_by_default(context):
    assert [type(layer).__name__ for layer in FitNets(context).regressor] == ["Conv2d", "BatchNorm2d"]
    assert FitNets(context, relu=True).regressor[0].weight.shape == (6, 4, 1, 1)
