"""Positions of maps as samples: those of both sides belong together, and losses read them as embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchbench.components import Component, Offer
from benchbench.losses import benchbench_losses
from benchbench.losses.catalog.embeddings import DenseParams
from benchbench.losses.positions import read_positions
from benchbench.losses.weighted_sum import LossSum
from benchbench.plugins import load_plugins
from benchbench.testing.losses import CHECKS, LossCase, run
from tests.losses.plain import DENSE, array, pooled
from tests.specs import loss_spec

COMPONENTS = {each.name: each for each in benchbench_losses() if issubclass(each.params, DenseParams)}
SMALLER = {"seed": {"queue": 9}}


def test_losses_that_take_positions():
    assert set(COMPONENTS) == {
        *("align_uniform", "cc", "embedding_cosine", "embedding_mse", "info_nce", "pkt", "rkd"),
        *("seed", "sp", "srd", "vid", "vkd", "wcord"),
    }
    assert DenseParams().model_dump() == {"dense": False, "positions": 16}
    assert set(DenseParams.model_fields) == DENSE


@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_places_are_the_same_on_both_sides_and_none_comes_twice(count):
    """Every position of a map holds its own number."""
    numbers = torch.arange(6.0).view(1, 1, 2, 3).expand(5, 1, 2, 3)
    f_teacher = torch.cat([numbers, -numbers], 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    s, t = read_positions(numbers, f_teacher, count)
    assert s.shape == (5, min(count, 6), 1)
    assert torch.equal(torch.cat([s, -s], 2), t)
    rows = [row.tolist() for row in s.squeeze(2)]
    assert all(len({*row}) == len(row) for row in rows)
    assert (len({tuple(row) for row in rows}) > 1) == (count < 6)


def test_a_loss_reads_positions_as_embeddings(context, make_step):
    """Of align_uniform: both sides at all four positions of the smaller map, through the same projectors."""
    student, teacher, batch = make_step()
    loss = LossSum([loss_spec("align_uniform", dim=4, dense=True, positions=4)], load_plugins().registry, context)
    assert loss.needs_features
    _, terms = loss(student, teacher, batch)
    part, sides = loss.parts["align_uniform"], []
    for values, project in (
        (array(student.features[-1]), part.student_projector),
        (pooled(array(teacher.features[-1]), 2), part.teacher_projector),
    ):
        vectors = torch.tensor(np.array([values[b, :, i, j] for b in range(7) for i in range(2) for j in range(2)]))
        sides.append(torch.nn.functional.normalize(project.double()(vectors), dim=1))
    expected = ((sides[0] - sides[1]) ** 2).sum(1).mean()
    assert terms["align_uniform.align"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("name", "pair"), [(name, "cnn > cnn") for name in COMPONENTS] + [("pkt", "cnn > vit")])
def test_the_contract_holds(name, pair):
    case = LossCase(COMPONENTS[name], {"dense": True, "positions": 3, **SMALLER.get(name, {})}, pair)
    for check in ("terms", "gradients", "resume", "device", "mixing"):
        CHECKS[check](case)


def test_the_training_loop_s_seed_draws_them():
    case = LossCase(COMPONENTS["embedding_mse"], {"dense": True, "positions": 2})
    values = [run(case.build(), case.step(), seed)[1]["embedding_mse"] for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize(("name", "bad"), [("align_uniform", {"positions": 0}), ("sp", {"maps": True, "dense": True})])
def test_bad_parameters_are_refused(name, bad):
    with pytest.raises(ValidationError, match=r"greater than 0|take one of them"):
        COMPONENTS[name].params(**bad)


def width_of_batch(student, teacher, batch):
    return student.embedding.sum() * 0 + len(student.embedding)


def test_a_plugin_s_loss_gets_them_too(context, make_step):
    registry = load_plugins().registry
    mine = Component("mine", f"{__name__}:width_of_batch", DenseParams, needs=frozenset({"teacher"}))
    assert mine.needs_of({"dense": True}) == {"teacher", "features"}
    registry.add(Offer("loss", mine, "here"))
    student, teacher, batch = make_step()
    _, terms = LossSum([loss_spec("mine", dense=True, positions=3)], registry, context)(student, teacher, batch)
    assert terms["mine"].item() == 21
