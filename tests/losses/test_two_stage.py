"""Common parts of the methods that train the student alone first."""

from __future__ import annotations

import pytest
import torch

from benchbench.losses.methods.ab import AB
from benchbench.losses.methods.fitnets import FitNets
from benchbench.losses.methods.fsp import FSP

METHODS = pytest.mark.parametrize("method", [FitNets, FSP, AB])


@METHODS
def test_the_term_is_the_first_stage_and_then_zero(context, make_step, method):
    student, teacher, batch = make_step()
    loss = method(context, preparation=0.5)
    assert (loss.prepares, loss.preparation) == ("student", 0.5)
    first, second = loss.prepare(student, teacher, batch), loss(student, teacher, batch)
    assert list(first) == list(second) == [loss.name]
    assert first[loss.name] > 0
    assert second[loss.name] == 0
    second[loss.name].backward()
    assert all(tensor.grad is None for tensor in student.features)
    assert not student.embedding.grad.any()
    assert all(parameter.grad is None for parameter in loss.parameters())
    first[loss.name].backward()
    assert all(parameter.grad.any() for parameter in loss.parameters())
    assert any(tensor.grad is not None and tensor.grad.any() for tensor in student.features)


@METHODS
def test_zero_it_is_even_for_an_embedding_that_is_not_finite(context, make_step, method):
    student, teacher, batch = make_step()
    student.embedding = torch.full((7, 6), torch.inf)
    loss = method(context, preparation=0.5)
    assert loss(student, teacher, batch)[loss.name] == 0


@METHODS
def test_without_a_first_stage_the_term_joins_the_training(context, make_step, method):
    student, teacher, batch = make_step()
    loss = method(context, preparation=0)
    assert (loss.prepares, loss.preparation) == ("nothing", 0)
    torch.manual_seed(0)
    joint = loss(student, teacher, batch)[loss.name]
    assert joint > 0
    assert torch.equal(joint, loss.prepare(student, teacher, batch)[loss.name])
    joint.backward()
    assert all(parameter.grad.any() for parameter in loss.parameters())


@pytest.mark.parametrize(("method", "share"), [(FitNets, 0.0), (FSP, 0.125), (AB, 0.125)])
def test_defaults(context, method, share):
    assert method(context).preparation == share
