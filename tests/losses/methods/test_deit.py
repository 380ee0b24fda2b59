from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.deit import DeiT, hard_distillation
from tests.losses.plain import softmax


def hard(z: np.ndarray, t: np.ndarray) -> float:
    return -sum(math.log(softmax(a)[list(b).index(max(b))]) for a, b in zip(z, t, strict=True)) / len(z)


def soft(z: np.ndarray, t: np.ndarray, tau: float) -> float:
    total = 0.0
    for a, b in zip(z, t, strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(softmax(b, tau), softmax(a, tau), strict=True))
    return tau**2 * total / len(z)


@pytest.mark.parametrize("size", [1, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    z, t = rng.normal(scale=3, size=(size, 5)), rng.normal(scale=3, size=(size, 5))
    assert hard_distillation(torch.tensor(z), torch.tensor(t)).item() == pytest.approx(hard(z, t), rel=1e-5)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, hard),
        ({"kind": "hard", "temperature": 9.0}, hard),
        ({"kind": "soft"}, lambda z, t: soft(z, t, 3.0)),
        ({"kind": "soft", "temperature": 1.5}, lambda z, t: soft(z, t, 1.5)),
    ],
)
def test_term(context, make_step, params, expected):
    student, teacher, batch = make_step()
    z, t = (tensor.detach().double().numpy() for tensor in (student.token_logits, teacher.logits))
    terms = DeiT(context, **params)(student, teacher, batch)
    assert list(terms) == ["deit"]
    assert terms["deit"].item() == pytest.approx(expected(z, t), rel=1e-4)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_the_class_head_learns_nothing_from_it(context, make_step, kind):
    student, teacher, batch = make_step()
    DeiT(context, kind=kind)(student, teacher, batch)["deit"].backward()
    assert student.logits.grad is None
    assert student.token_logits.grad.abs().sum() > 0


def test_hard_labels_know_the_teacher_s_choice_alone(context, make_step):
    student, teacher, batch = make_step()
    value = DeiT(context)(student, teacher, batch)["deit"]
    teacher.logits = 0.1 * teacher.logits + 5
    assert DeiT(context)(student, teacher, batch)["deit"] == value


def test_soft_labels_leave_nothing_to_learn_where_both_say_the_same(context, make_step):
    student, teacher, batch = make_step()
    student.token_logits = teacher.logits.detach().clone().requires_grad_()
    value = DeiT(context, kind="soft")(student, teacher, batch)["deit"]
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert student.token_logits.grad.abs().max() < 1e-6
