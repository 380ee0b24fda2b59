from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.vitkd import ViTKD, masked_tokens
from benchbench.seeds import seed_everything
from tests.losses.plain import array, conv, pooled

DEFAULTS = {"alpha": 3e-5, "beta": 3e-6, "share": 0.5}


@pytest.mark.parametrize(("share", "masked"), [(0.5, 6), (0.25, 3), (1.0, 12), (0.3, 4)])
def test_the_share_of_the_tokens_is_masked(share, masked):
    mask = masked_tokens(torch.zeros(5, 2, 3, 4), share)
    assert mask.shape == (5, 1, 3, 4)
    assert mask.sum(dim=(1, 2, 3)).tolist() == [masked] * 5
    assert len({tuple(each.flatten().tolist()) for each in masked_tokens(torch.zeros(50, 2, 3, 4), 0.5)}) > 20


def aligned(x: np.ndarray, layer: torch.nn.Module) -> np.ndarray:
    (convolution,) = layer
    return np.einsum("oc,bchw->bohw", array(convolution.weight)[:, :, 0, 0], x) + array(convolution.bias)[:, None, None]


@pytest.mark.parametrize("params", [{}, {"alpha": 0.5, "beta": 0.25, "share": 0.75}])
def test_terms(context, make_step, params):
    student, teacher, batch = make_step()
    options = DEFAULTS | params
    loss = ViTKD(context, **params)
    with torch.no_grad():
        loss.token.normal_()
    pairs = []
    for layer, level in zip(loss.align, (0, 1, -1), strict=True):
        f_s, f_t = array(student.features[level]), array(teacher.features[level])
        size = min(f_s.shape[2], f_t.shape[2])
        pairs.append((aligned(pooled(f_s, size), layer), pooled(f_t, size)))
    seed_everything(3, torch.device("cpu"))
    mask = masked_tokens(torch.zeros(pairs[-1][0].shape), options["share"]).numpy()
    value, target = pairs[-1]
    value = np.where(mask > 0, array(loss.token), value)
    first, second = (block[0] for block in loss.generation)
    hidden = np.maximum(conv(value, array(first.weight)) + array(first.bias)[:, None, None], 0)
    generated = conv(hidden, array(second.weight)) + array(second.bias)[:, None, None]
    seed_everything(3, torch.device("cpu"))
    terms = loss(student, teacher, batch)
    imitation = sum(((s - t) ** 2).sum() for s, t in pairs[:2]) / 7
    generation = (((generated - target) * mask) ** 2).sum() / 7
    assert terms["imitation"].item() == pytest.approx(options["alpha"] * imitation, rel=1e-4)
    expected = options["beta"] * generation / options["share"]
    assert terms["generation"].item() == pytest.approx(expected, rel=1e-4)


def test_equal_widths_are_not_aligned(context):
    context.student_features = context.teacher_features = [(4, 3, 3)] * 4
    assert all(isinstance(layer, torch.nn.Identity) for layer in ViTKD(context).align)


def test_shallow_networks_are_refused(context):
    context.student_features = context.student_features[:2]
    with pytest.raises(StageError, match="compares the first 2 maps and the last; take deeper networks"):
        ViTKD(context)
