from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.review import Review, hierarchical_context
from tests.losses.plain import array, conv, normed, pooled, resized


def hcl(student: np.ndarray, teacher: np.ndarray) -> float:
    total, weights, weight = ((student - teacher) ** 2).mean(), 1.0, 1.0
    for size in (4, 2, 1):
        if size < student.shape[2]:
            weight /= 2
            weights += weight
            total += weight * ((pooled(student, size) - pooled(teacher, size)) ** 2).mean()
    return total / weights


def reference(loss: Review, levels: list[tuple[np.ndarray, np.ndarray]]) -> float:
    total, passed = 0.0, None
    for (f_student, f_teacher), fusion in reversed(list(zip(levels, loss.fusions, strict=True))):
        x = normed(conv(f_student, array(fusion.enter[0].weight)))
        if passed is not None:
            y = resized(passed, x.shape[2])
            scores = conv(np.concatenate([x, y], axis=1), array(fusion.attention[0].weight))
            shares = 1 / (1 + np.exp(-scores - array(fusion.attention[0].bias)[:, None, None]))
            x = shares[:, 0:1] * x + shares[:, 1:2] * y
        passed = resized(x, f_teacher.shape[2])
        total += hcl(normed(conv(passed, array(fusion.leave[0].weight))), f_teacher)
    return total


def levels_of(step) -> list[tuple[np.ndarray, np.ndarray]]:
    student, teacher, _ = step
    levels = [(array(student.features[s]), array(teacher.features[t])) for s, t in ((0, 1), (1, 2), (2, 3))]
    return [*levels, tuple(array(side.embedding)[:, :, None, None] for side in (student, teacher))]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    maps = rng.normal(size=(3, 4, size, size)), rng.normal(size=(3, 4, size, size))
    assert hierarchical_context(*map(torch.tensor, maps)).item() == pytest.approx(hcl(*maps), rel=1e-12)


def test_a_constant_gap_counts_alike_at_every_size():
    for size in (1, 2, 5, 8):
        maps = torch.randn(3, 4, size, size, dtype=torch.float64)
        assert hierarchical_context(maps, maps) == 0
        assert hierarchical_context(maps + 2, maps).item() == pytest.approx(4)


def test_term(context, make_step):
    student, teacher, batch = step = make_step()
    torch.manual_seed(0)
    loss = Review(context)
    batch.epoch = 20.0
    terms = loss(student, teacher, batch)
    assert list(terms) == ["review"]
    assert terms["review"].item() == pytest.approx(reference(loss, levels_of(step)), rel=1e-4)


@pytest.mark.parametrize(
    ("warmup", "epoch", "share"), [(20, 0, 0), (20, 5.5, 0.275), (20, 31, 1), (4, 3, 0.75), (0, 0, 1)]
)
def test_warmup(context, make_step, warmup, epoch, share):
    student, teacher, batch = step = make_step()
    torch.manual_seed(0)
    loss = Review(context, warmup_epochs=warmup)
    batch.epoch = epoch
    expected = share * reference(loss, levels_of(step))
    assert loss(student, teacher, batch)["review"].item() == pytest.approx(expected, rel=1e-4)


def test_deeper_maps_reach_the_shallow_levels(context, make_step):
    """The deepest level itself is left out of the sum: what moves the embedding comes through the fusions."""
    student, teacher, batch = make_step()
    loss = Review(context)
    teacher.embedding = torch.zeros(7, 11)
    nn.init.zeros_(loss.fusions[-1].leave[0].weight)
    loss(student, teacher, batch)["review"].backward()
    assert student.embedding.grad.abs().sum() > 0


def test_modules(context):
    loss = Review(context)
    assert loss.params.model_dump() == {"warmup_epochs": 20}
    assert [tuple(fusion.enter[0].weight.shape) for fusion in loss.fusions] == [(6, c, 1, 1) for c in (3, 4, 6, 6)]
    assert [tuple(fusion.leave[0].weight.shape) for fusion in loss.fusions] == [(c, 6, 3, 3) for c in (6, 8, 11, 11)]
    assert [fusion.attention is None for fusion in loss.fusions] == [False, False, False, True]


def test_the_fused_maps_are_no_wider_than_512(context):
    context.student_dim = 768
    context.device = torch.device("meta")
    with torch.device("meta"):
        assert Review(context).fusions[-1].enter[0].weight.shape == (512, 768, 1, 1)
