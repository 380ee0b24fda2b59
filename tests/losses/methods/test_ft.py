from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.ft import FT, factor_gap
from tests.losses.plain import pooled


def reference(student: np.ndarray, teacher: np.ndarray) -> float:
    size = min(student.shape[2], teacher.shape[2])
    student, teacher = pooled(student, size), pooled(teacher, size)
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        total += np.abs(s / math.sqrt((s**2).sum()) - t / math.sqrt((t**2).sum())).sum()
    return total / student.size


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


def convolved(x: np.ndarray, layers: nn.Sequential) -> np.ndarray:
    """3x3 correlations with zeros around; a transposed one is that with the kernel turned round."""
    for layer in layers[::2]:
        kernel, bias = (parameter.detach().double().numpy() for parameter in (layer.weight, layer.bias))
        if isinstance(layer, nn.ConvTranspose2d):
            kernel = kernel.swapaxes(0, 1)[:, :, ::-1, ::-1]
        around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        y = np.zeros((len(x), len(kernel), *x.shape[2:])) + bias[:, None, None]
        for i, j in np.ndindex(*x.shape[2:]):
            y[:, :, i, j] += np.einsum("ocij,bcij->bo", kernel, around[:, :, i : i + 3, j : j + 3])
        x = leaky(y)
    return x


@pytest.mark.parametrize("sizes", [(3, 3), (5, 3), (2, 4)])
def test_value(sizes):
    rng = np.random.default_rng(0)
    student, teacher = (rng.normal(size=(3, 4, size, size)) for size in sizes)
    value = factor_gap(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(reference(student, teacher), rel=1e-9)


def test_the_length_of_a_factor_does_not_count():
    factor = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    scale = torch.tensor([0.1, 2.0, 30.0]).view(3, 1, 1, 1)
    assert factor_gap(scale * factor, factor).item() == pytest.approx(0, abs=1e-12)
    assert factor_gap(-factor, factor) > 0.1


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss = FT(context)
    s, t = (side.features[-1].detach().double().numpy() for side in (student, teacher))
    expected = reference(convolved(s, loss.translator), convolved(t, loss.encoder))
    terms = loss(student, teacher, batch)
    assert list(terms) == ["ft"]
    assert terms["ft"].item() == pytest.approx(expected, rel=1e-4)


def test_the_first_stage_reconstructs_the_teacher_s_map(context, make_step):
    _, teacher, batch = make_step()
    loss = FT(context)
    t = teacher.features[-1].detach().double().numpy()
    expected = ((convolved(convolved(t, loss.encoder), loss.decoder) - t) ** 2).mean()
    terms = loss.prepare(None, teacher, batch)
    assert list(terms) == ["ft"]
    assert terms["ft"].item() == pytest.approx(expected, rel=1e-4)


def trained(loss: FT) -> set[str]:
    return {
        name.split(".")[0]
        for name, parameter in loss.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


def test_the_paraphraser_trains_first_and_the_translator_afterwards(context, make_step):
    student, teacher, batch = make_step()
    first, second = FT(context), FT(context)
    first.prepare(None, teacher, batch)["ft"].backward()
    assert trained(first) == {"encoder", "decoder"}
    second(student, teacher, batch)["ft"].backward()
    assert trained(second) == {"translator"}
    assert (first.prepares, first.preparation) == ("parts", 0.125)
    assert FT(context, preparation=2).preparation == 2


@pytest.mark.parametrize(("rate", "channels"), [(0.5, 6), (0.75, 8), (2, 22), (0.01, 1)])
def test_the_rate_is_the_factor_s_share_of_the_teacher_s_channels(context, rate, channels):
    loss = FT(context, rate=rate)  # of 11 channels; 5.5 is rounded to the even number
    assert [layer.weight.shape[0] for layer in loss.encoder[::2]] == [11, channels, channels]
    assert [layer.weight.shape[0] for layer in loss.translator[::2]] == [6, channels, channels]
    assert [layer.weight.shape[1] for layer in loss.decoder[::2]] == [channels, 11, 11]
