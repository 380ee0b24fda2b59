from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.diffkd import DiffKD, denoised, signal_shares
from benchbench.seeds import seed_everything
from tests.losses.plain import array

CPU = torch.device("cpu")


def shares() -> list[float]:
    values, product = [], 1.0
    for step in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
        values.append(product)
    return values


def test_shares():
    np.testing.assert_allclose(signal_shares().numpy(), shares(), rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 5])
def test_denoising(steps):
    """A denoiser whose noise is half of what it is given, in closed steps."""
    x, a = np.random.default_rng(0).normal(size=(2, 3, 2, 2)), [float(each) for each in signal_shares().double()]
    value = denoised(torch.tensor(x), lambda x, step: x / 2, signal_shares().double(), steps)
    for step in range((steps - 1) * 100, -1, -100):
        after = a[step - 100] if step else 1.0
        clean = (x - math.sqrt(1 - a[step]) * x / 2) / math.sqrt(a[step])
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * x / 2
    np.testing.assert_allclose(value.numpy(), x, rtol=1e-12)


def test_a_perfect_denoiser_gives_the_signal_back():
    signal, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    share = signal_shares().double()
    mixed = share[400].sqrt() * signal + (1 - share[400]).sqrt() * noise
    torch.testing.assert_close(denoised(mixed, lambda x, step: noise, share, 5), signal)


def test_terms(context, make_step):
    student, teacher, batch = make_step(2)
    context.student_features[-1] = context.teacher_features[-1] = (11, 3, 3)
    student.features[-1] = torch.randn(2, 11, 3, 3, requires_grad=True)
    loss = DiffKD(context, steps=1)
    seed_everything(1, CPU)
    terms = loss(student, teacher, batch)
    assert list(terms) == ["diffkd", "diffusion", "reconstruction"]
    f_t = teacher.features[-1].detach()
    code = loss.encode(f_t)
    expected = ((array(loss.decode(code)) - array(f_t)) ** 2).mean()
    assert terms["reconstruction"].item() == pytest.approx(expected, rel=1e-5)
    seed_everything(1, CPU)
    x = loss.transform(student.features[-1])
    share = loss.adapter(x).softmax(dim=1)[:, 0].view(2, 1, 1, 1)
    x = share * x + (1 - share) * torch.randn(x.shape)
    a = shares()[0]
    noise = loss.denoiser(x, torch.zeros(1, dtype=torch.int64))
    refined = array(loss.project((x - math.sqrt(1 - a) * noise) / math.sqrt(a)))
    assert terms["diffkd"].item() == pytest.approx(((refined - array(code)) ** 2).mean(), rel=1e-4)


def test_the_code_is_a_constant_to_the_student_s_term(context, make_step):
    student, teacher, batch = make_step()
    loss = DiffKD(context)
    loss(student, teacher, batch)["diffkd"].backward()
    assert all(parameter.grad is None for parameter in [*loss.encode.parameters(), *loss.decode.parameters()])
    assert student.features[-1].grad.abs().sum() > 0
    loss(student, teacher, batch)["diffusion"].backward()
    assert all(parameter.grad is None for parameter in loss.encode.parameters())
