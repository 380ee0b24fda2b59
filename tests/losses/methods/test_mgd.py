from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.mgd import MGD, generation_error, random_mask


def conv(x: np.ndarray, layer: nn.Conv2d) -> np.ndarray:
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    side = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    out = np.zeros((len(x), len(weight), *x.shape[2:]))
    for b, o, i, j in np.ndindex(out.shape):
        out[b, o, i, j] = bias[o] + (weight[o] * padded[b, :, i : i + side, j : j + side]).sum()
    return out


def parts(loss: MGD) -> list[nn.Conv2d]:
    return [module for module in loss.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("masked", ["channels", "pixels"])
def test_term(context, make_step, masked):
    student, teacher, batch = make_step()
    loss = MGD(context, ratio=0.4, masked=masked, alpha=0.01)
    torch.manual_seed(3)
    terms = loss(student, teacher, batch)
    torch.manual_seed(3)
    mask = torch.rand((7, 11, 1, 1) if masked == "channels" else (7, 1, 2, 2)).numpy() >= 0.4
    f_student, f_teacher = (side.features[-1].detach().double().numpy() for side in (student, teacher))
    # The teacher's 3x3 map at the student's 2x2: bins of 2x2 that overlap.
    f_teacher = np.stack(
        [np.stack([f_teacher[:, :, i : i + 2, j : j + 2].mean(axis=(2, 3)) for j in (0, 1)], axis=2) for i in (0, 1)],
        axis=2,
    )
    align, first, second = parts(loss)
    generated = conv(np.maximum(conv(mask * conv(f_student, align), first), 0), second)
    expected = 0.01 * sum(((g - t) ** 2).sum() for g, t in zip(generated, f_teacher, strict=True)) / 7
    assert list(terms) == ["mgd"]
    assert terms["mgd"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("masked", "shape"), [("channels", (50, 40, 1, 1)), ("pixels", (50, 1, 6, 8))])
def test_the_mask_hides_its_share(masked, shape):
    torch.manual_seed(0)
    mask = random_mask(torch.zeros(50, 40, 6, 8), 0.15, masked)
    assert mask.shape == shape
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask.mean().item() == pytest.approx(0.85, abs=0.03)
    assert random_mask(torch.zeros(50, 40, 6, 8), 0.0, masked).all()


def test_every_step_has_a_mask_of_its_own(context, make_step):
    loss, step = MGD(context, ratio=0.5), make_step()
    torch.manual_seed(0)
    assert loss(*step)["mgd"] != loss(*step)["mgd"]


def test_the_student_that_generates_the_teacher_s_map_is_no_loss():
    maps = torch.randn(2, 3, 4, 4)
    assert generation_error(maps, maps) == 0
    assert generation_error(maps + 1, maps).item() == pytest.approx(7e-5 * 3 * 16)
    assert generation_error(maps + 1, maps, 0.5).item() == pytest.approx(0.5 * 3 * 16)


def test_maps_of_equal_width_are_not_aligned(context):
    assert [tuple(part.weight.shape) for part in parts(MGD(context))] == [(11, 6, 1, 1), (11, 11, 3, 3), (11, 11, 3, 3)]
    context.student_features[-1] = (11, 2, 2)
    assert [tuple(part.weight.shape) for part in parts(MGD(context))] == [(11, 11, 3, 3), (11, 11, 3, 3)]


def test_defaults(context):
    assert MGD(context).params.model_dump() == {"alpha": 7e-5, "ratio": 0.15, "masked": "channels"}
