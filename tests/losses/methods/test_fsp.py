from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.methods.fsp import FSP, flow
from tests.losses.plain import pooled


def reference(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    size = min(lower.shape[2], upper.shape[2])
    lower, upper = pooled(lower, size), pooled(upper, size)
    g = np.zeros((len(lower), lower.shape[1], upper.shape[1]))
    for b, i, j in np.ndindex(g.shape):
        g[b, i, j] = sum(lower[b, i, s, t] * upper[b, j, s, t] for s, t in np.ndindex(size, size)) / size**2
    return g


@pytest.mark.parametrize("sizes", [(3, 3), (5, 3), (2, 4)])
def test_flow(sizes):
    rng = np.random.default_rng(0)
    lower, upper = rng.normal(size=(2, 3, sizes[0], sizes[0])), rng.normal(size=(2, 4, sizes[1], sizes[1]))
    np.testing.assert_allclose(flow(torch.tensor(lower), torch.tensor(upper)), reference(lower, upper), rtol=1e-9)


def widened(x: np.ndarray, layer: nn.Module) -> np.ndarray:
    """A 1x1 convolution of the map, or the map itself."""
    if isinstance(layer, nn.Identity):
        return x
    return np.einsum("oc,bchw->bohw", layer.weight.detach().double().numpy(), x)


def test_term(context, make_step):
    student, teacher, batch = make_step()
    context.student_features[1] = context.teacher_features[2]  # as wide as the teacher's: no matrix there
    student.features[1] = torch.randn(7, 8, 4, 4)
    loss = FSP(context, preparation=0)
    assert [type(layer) for layer in loss.widen] == [nn.Linear, nn.Identity, nn.Linear]
    s_maps, t_maps = ([x.detach().double().numpy() for x in side.features] for side in (student, teacher))
    s_maps = [widened(x, layer) for x, layer in zip(s_maps, loss.widen, strict=True)]
    expected = 0.0
    for i in (0, 1):  # the last three of the teacher's four maps
        expected += ((reference(*s_maps[i : i + 2]) - reference(*t_maps[i + 1 : i + 3])) ** 2).mean()
    terms = loss(student, teacher, batch)
    assert list(terms) == ["fsp"]
    assert terms["fsp"].item() == pytest.approx(expected, rel=1e-4)


def test_a_student_with_the_teacher_s_maps_has_no_loss_and_nothing_to_train(context, make_step):
    student, teacher, batch = make_step()
    context.student_features = context.teacher_features
    loss = FSP(context, preparation=0)
    assert not list(loss.parameters())
    student.features = [features.clone() for features in teacher.features]
    assert loss(student, teacher, batch)["fsp"] == 0
    student.features[2] = student.features[2] * 1.1
    assert loss(student, teacher, batch)["fsp"] > 0


def test_where_in_the_image_it_is_does_not_count():
    lower, upper = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 5, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(flow(lower.flip(2), upper.flip(2)), flow(lower, upper))


@pytest.mark.parametrize("side", ["student_features", "teacher_features"])
def test_a_network_with_one_map_is_refused(context, side):
    setattr(context, side, getattr(context, side)[-1:])
    with pytest.raises(StageError, match="'fsp' compares flows between two maps"):
        FSP(context)
