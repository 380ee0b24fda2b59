from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.dkd import DKD, decoupled_kl
from benchbench.losses.methods.kd import distillation_kl
from benchbench.losses.methods.rld import RLD
from tests.losses.plain import softmax


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def reference(s: np.ndarray, t: np.ndarray, labels: np.ndarray, temperature: float) -> tuple[float, float]:
    target = rest = 0.0
    for s_row, t_row, y in zip(s, t, labels, strict=True):
        p_t, p_s = softmax([value / temperature for value in t_row]), softmax([value / temperature for value in s_row])
        target += kl([p_t[y], 1 - p_t[y]], [p_s[y], 1 - p_s[y]])
        hat_t = [p / (1 - p_t[y]) for c, p in enumerate(p_t) if c != y]
        hat_s = [p / (1 - p_s[y]) for c, p in enumerate(p_s) if c != y]
        rest += kl(hat_t, hat_s)
    return temperature**2 * target / len(s), temperature**2 * rest / len(s)


def draw(size: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    return rng.normal(scale=3, size=(size, 5)), rng.normal(scale=3, size=(size, 5)), rng.integers(0, 5, size)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_value(size, temperature):
    values = decoupled_kl(*map(torch.tensor, draw(size)), temperature)
    assert [value.item() for value in values] == pytest.approx(reference(*draw(size), temperature), rel=1e-9)


def test_kd_is_the_sum_with_the_teacher_s_doubt_as_weight():
    """Sample by sample, KD = TCKD + (1 - p_y of the teacher) NCKD."""
    s, t, labels = map(torch.tensor, draw())
    for i in range(7):
        one = slice(i, i + 1)
        target, rest = decoupled_kl(s[one], t[one], labels[one], 2.0)
        doubt = 1 - torch.softmax(t[i] / 2, dim=0)[labels[i]]
        assert (target + doubt * rest).item() == pytest.approx(distillation_kl(s[one], t[one], 2.0).item(), rel=1e-5)


def test_two_classes_have_nothing_beside_the_target():
    s, t, labels = torch.randn(3, 2, requires_grad=True), torch.randn(3, 2), torch.tensor([0, 1, 1])
    target, rest = decoupled_kl(s, t, labels)
    assert target > 0
    assert rest == 0


def test_terms_and_defaults(context, make_step):
    student, teacher, batch = make_step()
    sides = [side.logits.detach().double().numpy() for side in (student, teacher)]
    loss = DKD(context)
    assert loss.params.model_dump() == {
        "temperature": 4,
        "standardize": False,
        "alpha": 1,
        "beta": 8,
        "warmup_epochs": 0,
    }
    terms = loss(student, teacher, batch)
    target, rest = reference(*sides, batch.labels.numpy(), 4.0)
    assert terms["target"].item() == pytest.approx(target, rel=1e-4)
    assert terms["non_target"].item() == pytest.approx(8 * rest, rel=1e-4)
    terms = DKD(context, alpha=0.3, beta=2, temperature=1.5)(student, teacher, batch)
    target, rest = reference(*sides, batch.labels.numpy(), 1.5)
    assert list(terms) == ["target", "non_target"]
    assert terms["target"].item() == pytest.approx(0.3 * target, rel=1e-4)
    assert terms["non_target"].item() == pytest.approx(2 * rest, rel=1e-4)


@pytest.mark.parametrize("make", [DKD, RLD])
@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.0), (5.0, 0.25), (20.0, 1.0), (30.0, 1.0)])
def test_warm_up_is_a_ramp(context, make_step, make, epoch, share):
    student, teacher, batch = make_step()
    whole = make(context)(student, teacher, batch)
    batch.epoch = epoch
    part = make(context, warmup_epochs=20)(student, teacher, batch)
    assert {name: value.item() for name, value in part.items()} == pytest.approx(
        {name: share * value.item() for name, value in whole.items()}
    )
