"""DOT against its update written out number by number, and in runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.training.dot import DistillationOriented
from benchbench.training.optimizers import make_optimizer, set_rates
from tests.specs import recipe_spec
from tests.training.test_optimizers import Losses, model

RATE, MOMENTUM, DOT, DECAY = 0.1, 0.9, 0.075, 0.01


def test_updates():
    """Three parameters: both gradients reach the first, and one of them each of the others."""
    start = [1.0, -2.0, 3.0]
    values = [nn.Parameter(torch.tensor([each], dtype=torch.float64)) for each in start]
    optimizer = DistillationOriented([{"params": values}], RATE, MOMENTUM, DOT, DECAY)
    both, task, teacher = values
    w, v, u = np.array(start), [None] * 3, [None] * 3
    for step in range(4):
        scale = step + 1.0
        of_task = scale * (both.sin().sum() + 0.5 * task.square().sum())
        optimizer.backward(of_task, (both.square() * scale).sum() + 2 * teacher.square().sum())
        optimizer.step()
        g = [scale * np.cos(w[0]), scale * w[1], None]
        h = [2 * scale * w[0], None, 4 * w[2]]
        for index, (m_task, m_teacher) in enumerate(
            [(MOMENTUM - DOT, MOMENTUM + DOT), (MOMENTUM,) * 2, (MOMENTUM,) * 2]
        ):
            decay, move = DECAY * w[index], 0.0
            if g[index] is not None:
                v[index] = g[index] + decay if v[index] is None else m_task * v[index] + g[index] + decay
                move, decay = move + v[index], 0.0
            if h[index] is not None:
                u[index] = h[index] + decay if u[index] is None else m_teacher * u[index] + h[index] + decay
                move += u[index]
            w[index] -= RATE * move
        np.testing.assert_allclose([each.item() for each in values], w, rtol=1e-12)


def test_equal_momenta_are_sgd():
    """Without a difference the two buffers add up to one."""
    ends = []
    for dot in (0.0, None):
        value = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        group = [{"params": [value]}]
        optimizer = (
            torch.optim.SGD(group, RATE, MOMENTUM, weight_decay=DECAY)
            if dot is None
            else DistillationOriented(group, RATE, MOMENTUM, dot, DECAY)
        )
        for _ in range(5):
            task, distillation = value.sin().sum(), value.square().sum()
            if dot is None:
                optimizer.zero_grad()
                (task + distillation).backward()
            else:
                optimizer.backward(task, distillation)
            optimizer.step()
        ends.append(value.detach())
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("absent", ["task", "distillation"])
def test_a_side_without_a_gradient_counts_as_zero(absent):
    """As a batch without a real image has it: the run is that of a side of zeros, and no other."""
    ends = []
    for zero in (True, False):
        value = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        optimizer = DistillationOriented([{"params": [value]}], RATE, MOMENTUM, DOT, DECAY)
        for step in range(4):
            sides = {"task": value.sin().sum(), "distillation": value.square().sum()}
            if step in (1, 2):
                sides[absent] = 0.0 * value.sum() if zero else torch.zeros(())
            optimizer.backward(**sides)
            optimizer.step()
        ends.append(value.detach())
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_the_first_step_may_have_one_side_alone():
    value = nn.Parameter(torch.tensor([1.0]))
    optimizer = DistillationOriented([{"params": [value]}], RATE, MOMENTUM, DOT, 0.0)
    optimizer.backward(torch.zeros(()), 2 * value.sum())
    optimizer.step()
    assert value.item() == pytest.approx(1 - RATE * 2)


def test_the_recipe_makes_it():
    optimizer = make_optimizer(model(), Losses(), recipe_spec(optimizer="sgd", lr=0.02, momentum=0.8, dot=0.1))
    assert isinstance(optimizer, DistillationOriented)
    set_rates(optimizer, 0.5)
    assert {(group["lr"], group["momentum"], group["dot"]) for group in optimizer.param_groups} == {(0.01, 0.8, 0.1)}


@pytest.mark.parametrize("head_lr", [None, 0.5])
def test_its_state_goes_through_a_checkpoint(head_lr):
    ends = []
    for resumes in (False, True):
        student = model()
        recipe = recipe_spec(optimizer="sgd", lr=0.02, head_lr=head_lr, dot=0.1)
        optimizer = make_optimizer(student, nn.Module(), recipe)
        for step in range(4):
            if resumes and step == 2:
                state = optimizer.state_dict()
                optimizer = make_optimizer(student, nn.Module(), recipe)
                optimizer.load_state_dict(state)
            set_rates(optimizer, 1.0)
            outputs = student(torch.ones(2, 3, 2, 2))
            optimizer.backward(outputs.logits.square().sum(), outputs.embedding.sum())
            optimizer.step()
        ends.append(student.state_dict())
    torch.testing.assert_close(*ends, rtol=0, atol=0)
