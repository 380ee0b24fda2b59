from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.wkd_logits import WKDLogits, class_costs, transport
from tests.losses.plain import array, softmax


def costs_of(weight: np.ndarray, sharpen: float) -> np.ndarray:
    count = len(weight)
    costs = np.zeros((count, count))
    for k in range(count):
        for j in range(count):
            cosine = weight[k] @ weight[j] / math.sqrt((weight[k] @ weight[k]) * (weight[j] @ weight[j]))
            costs[k, j] = 1 - math.exp(-sharpen * max(1 - cosine, 0)) + 1e-8
    return costs


def moved(p: list[float], q: list[float], costs: np.ndarray, epsilon: float, iterations: int) -> float:
    """The cost of one plan, by sums over its entries."""
    size = range(len(p))
    kernel = np.exp(-costs / epsilon)
    u = [1 / len(p)] * len(p)
    for _ in range(iterations):
        v = [q[j] / (sum(kernel[i, j] * u[i] for i in size) + 1e-8) for j in size]
        u = [p[i] / (sum(kernel[i, j] * v[j] for j in size) + 1e-8) for i in size]
    return sum(u[i] * kernel[i, j] * v[j] * costs[i, j] for i in size for j in size)


@pytest.mark.parametrize("sharpen", [0.5, 2.0])
def test_costs(sharpen):
    weight = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(
        class_costs(torch.tensor(weight), sharpen).numpy(), costs_of(weight, sharpen), atol=1e-12
    )


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 10), (0.2, 3)])
def test_transport(epsilon, iterations):
    rng = np.random.default_rng(1)
    p, q, costs = rng.dirichlet(np.ones(4), 6), rng.dirichlet(np.ones(4), 6), rng.uniform(size=(6, 4, 4))
    value = transport(*map(torch.tensor, (p, q, costs)), epsilon, iterations).item()
    expected = np.mean([moved(*each, epsilon, iterations) for each in zip(p, q, costs, strict=True)])
    assert value == pytest.approx(expected, rel=1e-12)


def test_equal_distributions_cost_next_to_nothing():
    p = torch.rand(3, 4, dtype=torch.float64).softmax(dim=1)
    costs = 0.6 * (1 - torch.eye(4, dtype=torch.float64)).expand(3, 4, 4)
    assert transport(p, p, costs, 0.05, 50).item() < 1e-4
    assert transport(p, p.roll(1, dims=1), costs, 0.05, 50).item() > 0.01


def test_terms(context, make_step):
    student, teacher, batch = make_step()
    loss = WKDLogits(context, temperature=3.0, gamma=7.0, sharpen=1.5)
    terms = loss(student, teacher, batch)
    s, t, costs = array(student.logits), array(teacher.logits), costs_of(array(context.teacher_head.weight), 1.5)
    target, rest = [], []
    for i, y in enumerate(batch.labels.tolist()):
        target.append(-softmax(t[i])[y] * math.log(softmax(s[i])[y]))
        p, q = (softmax(np.delete(z[i], y), 3.0) for z in (s, t))
        rest.append(moved(p, q, np.delete(np.delete(costs, y, 0), y, 1), 0.05, 10))
    assert terms["target"].item() == pytest.approx(np.mean(target), rel=1e-5)
    assert terms["transport"].item() == pytest.approx(7 * np.mean(rest), rel=1e-4)


@pytest.mark.parametrize(("epoch", "share"), [(2.0, 1.0), (4.0, 1.0), (7.0, 0.5), (10.0, 0.0)])
def test_decay(context, make_step, epoch, share):
    student, teacher, batch = make_step()
    whole = WKDLogits(context)(student, teacher, batch)
    batch.epoch = epoch  # of 10
    part = WKDLogits(context, decay_epoch=4)(student, teacher, batch)
    assert part["transport"].item() == pytest.approx(share * whole["transport"].item(), abs=1e-7)
    assert part["target"].item() == whole["target"].item()


def test_refused(context):
    context.classes = 2
    with pytest.raises(StageError, match="between the classes beside the label: it needs three"):
        WKDLogits(context)
    context.teacher_head = None
    with pytest.raises(StageError, match="needs a teacher with a task head; adapt the teacher"):
        WKDLogits(context)
