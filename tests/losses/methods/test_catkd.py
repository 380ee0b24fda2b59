from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.methods.catkd import CATKD, activation_maps, class_attention_gap


def cams(features: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """[B, K, size, size]: the class activation maps at full size first, then pooled; sizes up to 3 fit 1 and 2."""
    count, channels, side, _ = features.shape
    full = np.zeros((count, len(weight), side, side))
    for b in range(count):
        for k in range(len(weight)):
            for c in range(channels):
                full[b, k] += weight[k, c] * features[b, c]
    bins = [slice(math.floor(i * side / size), math.ceil((i + 1) * side / size)) for i in range(size)]
    return np.stack([np.stack([full[:, :, i, j].mean(axis=(2, 3)) for j in bins], axis=2) for i in bins], axis=2)


def reference(a_student: np.ndarray, a_teacher: np.ndarray, normalize: bool) -> float:
    gaps = []
    for b in range(len(a_student)):
        for k in range(a_student.shape[1]):
            s, t = a_student[b, k].ravel(), a_teacher[b, k].ravel()
            if normalize:
                s, t = s / math.sqrt((s * s).sum()), t / math.sqrt((t * t).sum())
            gaps += [(x - y) ** 2 for x, y in zip(s, t, strict=True)]
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_activation_maps(size):
    rng = np.random.default_rng(size)
    features, weight = rng.normal(size=(3, 4, 5, 5)), rng.normal(size=(6, 4))
    value = activation_maps(torch.tensor(features), torch.tensor(weight), size)
    np.testing.assert_allclose(value.numpy(), cams(features, weight, size).reshape(3, 6, -1), atol=1e-12)


def test_activation_maps_add_up_to_the_logits():
    features, head = torch.randn(3, 4, 5, 5, dtype=torch.float64), nn.Linear(4, 6).double()
    logits = head(features.mean(dim=(2, 3)))
    torch.testing.assert_close(activation_maps(features, head.weight, 1).squeeze(2) + head.bias, logits)


@pytest.mark.parametrize(("size", "normalize"), [(1, False), (2, False), (2, True)])
def test_term(context, make_step, normalize, size):
    student, teacher, batch = make_step()
    sides = (student, context.student_head), (teacher, context.teacher_head)
    maps = [
        cams(side.features[-1].detach().double().numpy(), head.weight.detach().double().numpy(), size)
        for side, head in sides
    ]
    terms = CATKD(context, normalize=normalize, size=size)(student, teacher, batch)
    assert list(terms) == ["catkd"]
    assert terms["catkd"].item() == pytest.approx(reference(*maps, normalize), rel=1e-4)


def test_only_without_norms_does_strength_matter():
    maps = torch.randn(3, 6, 4, dtype=torch.float64)
    scale = torch.rand(3, 6, 1, dtype=torch.float64) + 0.5
    assert class_attention_gap(maps * scale, maps).item() == pytest.approx(0, abs=1e-30)
    assert class_attention_gap(maps * scale, maps, normalize=False) > 1e-3


def test_a_class_that_is_nowhere_active_leaves_the_gradient_finite():
    maps = torch.zeros(2, 3, 4, requires_grad=True)
    class_attention_gap(maps, torch.randn(2, 3, 4)).backward()
    assert maps.grad.isfinite().all()


def test_the_student_s_classifier_learns_and_stays_outside(context, make_step):
    student, teacher, batch = make_step()
    loss = CATKD(context)
    assert not list(loss.parameters())
    assert not loss.state_dict()
    loss(student, teacher, batch)["catkd"].backward()
    assert context.student_head.weight.grad.abs().sum() > 0
    assert context.teacher_head.weight.grad is None


def test_a_classifier_that_cannot_read_the_map_is_refused(context):
    context.student_features[-1] = (4, 2, 2)
    with pytest.raises(StageError, match="this student the map has 4 channels and the classifier takes 6"):
        CATKD(context)
    context.student_features[-1] = (6, 2, 2)
    context.teacher_features[-1] = (9, 2, 2)
    with pytest.raises(StageError, match="this teacher the map has 9 channels and the classifier takes 11"):
        CATKD(context)


@pytest.mark.parametrize(
    ("size", "student", "teacher"), [(1, (2, 2), (2, 2)), (2, (1, 1), (2, 2)), (2, (2, 2), (1, 1))]
)
def test_a_single_position_at_unit_norm_is_refused(context, size, student, teacher):
    """Its gradient is zero, whatever the networks."""
    context.student_features[-1], context.teacher_features[-1] = (6, *student), (11, *teacher)
    with pytest.raises(StageError, match="a single position says nothing; set `normalize: false`, or take larger"):
        CATKD(context, size=size)
    CATKD(context, size=size, normalize=False)


def test_other_classifiers_are_refused(context):
    context.student_head = nn.Sequential(nn.Linear(6, 5))
    with pytest.raises(StageError, match="needs a linear classifier; take out the loss that gives the student another"):
        CATKD(context)


def test_a_teacher_without_a_classifier_is_refused(context):
    context.teacher_head = None
    with pytest.raises(StageError, match="needs a task head of the teacher; adapt it to the task"):
        CATKD(context)


def test_defaults(context):
    assert CATKD(context).params.model_dump() == {"size": 2, "normalize": True}
