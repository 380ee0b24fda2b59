from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.wcord import WCoRD, dual_contrast, transport_cost, transport_plan
from tests.losses.plain import DENSE


def unit(h: np.ndarray) -> np.ndarray:
    return np.array([row / math.sqrt(sum(row * row)) for row in h])


def cosine_cost(z_student: np.ndarray, z_teacher: np.ndarray) -> np.ndarray:
    return np.array([[1 - sum(s * t) for t in z_teacher] for s in z_student])


def plan_reference(cost: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Sinkhorn's iterations as they are written, with exponentials."""
    size = len(cost)
    kernel = np.exp(-cost / epsilon)
    v = np.ones(size)
    for _ in range(iterations):
        u = np.array([(1 / size) / sum(row * v) for row in kernel])
        v = np.array([(1 / size) / sum(column * u) for column in kernel.T])
    return np.array([[u[i] * kernel[i, j] * v[j] for j in range(size)] for i in range(size)])


def contrast_reference(scores: np.ndarray) -> float:
    size = len(scores)
    same = [scores[i][i] for i in range(size)]
    others = [scores[i][j] for i in range(size) for j in range(size) if i != j]
    return sum(others) / len(others) - sum(same) / size


@pytest.mark.parametrize("size", [2, 5, 64, 300])
def test_the_sum_over_images_is_the_trace_to_the_last_bit(size):
    """As `trace` adds up on a CPU; its backward pass makes a GPU wait."""
    scores = torch.randn(size, size, generator=torch.Generator().manual_seed(size), requires_grad=True)
    same = scores.trace()
    expected = (scores.sum() - same) / (size * (size - 1)) - same / size
    value = dual_contrast(scores)
    assert torch.equal(value, expected)
    assert torch.equal(*(torch.autograd.grad(each, scores)[0] for each in (value, expected)))


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 20), (0.5, 1), (0.2, 5)])
def test_local_value(size, epsilon, iterations):
    rng = np.random.default_rng(size)
    z_student, z_teacher = unit(rng.normal(size=(size, 4))), unit(rng.normal(size=(size, 4)))
    cost = cosine_cost(z_student, z_teacher)
    plan = plan_reference(cost, epsilon, iterations)
    np.testing.assert_allclose(transport_plan(torch.tensor(cost), epsilon, iterations), plan, atol=1e-12)
    value = transport_cost(torch.tensor(z_student), torch.tensor(z_teacher), epsilon, iterations)
    assert value.item() == pytest.approx((plan * cost).sum(), rel=1e-9)


def test_the_plan_has_uniform_marginals_and_tends_to_the_best_assignment():
    rng = np.random.default_rng(0)
    cost = cosine_cost(unit(rng.normal(size=(5, 4))), unit(rng.normal(size=(5, 4))))
    best = min(np.mean([cost[i, j] for i, j in enumerate(order)]) for order in itertools.permutations(range(5)))
    costs = []
    for epsilon in (10, 0.1, 0.01):
        plan = transport_plan(torch.tensor(cost), epsilon, 500).numpy()
        np.testing.assert_allclose(plan.sum(axis=0), 1 / 5, atol=1e-9)
        np.testing.assert_allclose(plan.sum(axis=1), 1 / 5, atol=1e-4)
        costs.append((plan * cost).sum())
    assert costs[0] == pytest.approx(cost.mean(), rel=0.05)
    assert costs[0] > costs[1] > costs[2]
    assert costs[2] == pytest.approx(best, abs=3e-3)


def test_local_finds_the_partners_by_itself():
    z = torch.eye(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert transport_cost(z[order], z).item() == pytest.approx(0, abs=1e-4)
    apart = nn.functional.normalize(torch.randn(5, 6)), nn.functional.normalize(torch.randn(5, 6))
    value = transport_cost(*apart)
    assert value.item() > 0.1
    assert transport_cost(apart[0][order], apart[1]).item() == pytest.approx(value.item(), rel=1e-3)


def test_the_plan_is_a_constant_to_the_gradient():
    z_student, z_teacher = (nn.functional.normalize(torch.randn(5, 4)) for _ in range(2))
    plan = transport_plan(1 - z_student @ z_teacher.T, 0.05, 20)
    z_student.requires_grad_()
    transport_cost(z_student, z_teacher).backward()
    torch.testing.assert_close(z_student.grad, -plan @ z_teacher)


def test_small_epsilons_stay_finite():
    z_student, z_teacher = (nn.functional.normalize(torch.randn(5, 4)) for _ in range(2))
    assert transport_cost(z_student, -z_teacher, epsilon=1e-4).isfinite()


@pytest.mark.parametrize("size", [2, 7])
def test_global_value(size):
    scores = np.random.default_rng(size).normal(size=(size, size))
    assert dual_contrast(torch.tensor(scores)).item() == pytest.approx(contrast_reference(scores), rel=1e-9)


def test_a_batch_of_one_has_no_contrast():
    scores = torch.tensor([[3.0]], requires_grad=True)
    value = dual_contrast(scores)
    value.backward()
    assert value == 0
    assert scores.grad == 0


def test_terms(context, make_step):
    student, teacher, batch = make_step()
    params = {"local_weight": 3.0, "global_weight": 0.5, "epsilon": 0.3, "iterations": 4, "dim": 3}
    loss = WCoRD(context, **params)
    terms = loss(student, teacher, batch)
    assert list(terms) == ["local", "global"]

    z_student = unit(loss.connector(student.embedding).detach().double().numpy())
    z_teacher = unit(teacher.embedding.detach().double().numpy())
    cost = cosine_cost(z_student, z_teacher)
    assert terms["local"].item() == pytest.approx(3 * (plan_reference(cost, 0.3, 4) * cost).sum(), rel=1e-4)
    loss.eval()  # keeps the critic as it was: in train mode each use improves the estimate of its norm
    u, v = (critic.weight.detach().double().numpy() for critic in (loss.student_critic, loss.teacher_critic))
    assert u.shape == v.shape == (3, 11)
    scores = np.array([[sum((u @ s) * (v @ t)) / math.sqrt(2) for t in z_teacher] for s in z_student])
    assert terms["global"].item() == pytest.approx(0.5 * contrast_reference(scores), rel=1e-4)


def test_the_critic_is_lipschitz(context):
    """Its gradient in both embeddings together is no longer than 1, after training as before."""
    loss = WCoRD(context, dim=9)
    with torch.no_grad():
        for critic in (loss.student_critic, loss.teacher_critic):
            critic.parametrizations.weight.original.mul_(50)
    for _ in range(100):
        u, v = loss.student_critic.weight, loss.teacher_critic.weight
    assert torch.linalg.matrix_norm(u, 2).item() == pytest.approx(1, abs=1e-3)
    assert torch.linalg.matrix_norm(v, 2).item() == pytest.approx(1, abs=1e-3)
    z_student, z_teacher = nn.functional.normalize(torch.randn(2, 500, 11), dim=2).requires_grad_()
    scores = ((z_student @ u.T) * (z_teacher @ v.T)).sum(dim=1) / math.sqrt(2)
    gradients = torch.autograd.grad(scores.sum(), [z_student, z_teacher])
    assert torch.cat(gradients, dim=1).norm(dim=1).max() <= 1.001


def test_student_and_critic_train_to_one_end(context, make_step):
    """Both terms fall together where the connector and the critic alone are trained."""
    student, teacher, batch = make_step()
    loss = WCoRD(context, dim=9)
    history = []
    for _ in range(60):
        terms = loss(student, teacher, batch)
        loss.zero_grad()
        sum(terms.values()).backward()
        for parameter in loss.parameters():
            parameter.data -= 0.3 * parameter.grad
        history.append({name: term.item() for name, term in terms.items()})
    assert history[-1]["local"] < 0.5 * history[0]["local"]
    assert history[-1]["global"] < history[0]["global"] - 0.2


def test_defaults(context):
    loss = WCoRD(context)
    assert loss.params.model_dump(exclude=DENSE) == {
        "local_weight": 1,
        "global_weight": 1,
        "epsilon": 0.05,
        "iterations": 20,
        "dim": 128,
    }
    shapes = {name: tuple(value.shape) for name, value in loss.state_dict().items()}
    assert shapes.pop("connector.0.weight") == (11, 6)
    assert shapes.pop("connector.0.bias") == (11,)
    assert {name.split(".")[0] for name in shapes} == {"student_critic", "teacher_critic"}
