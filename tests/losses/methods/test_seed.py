from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.seed import SEED, similarity_cross_entropy
from tests.losses.plain import DENSE, softmax, unit


def reference(z_s: np.ndarray, z_t: np.ndarray, queue: np.ndarray, tau_s: float, tau_t: float) -> float:
    total = 0.0
    for s, t in zip(z_s, z_t, strict=True):
        instances = [t, *queue]
        p_s = softmax([sum(s * d) / tau_s for d in instances])
        p_t = softmax([sum(t * d) / tau_t for d in instances])
        total -= sum(b * math.log(a) for a, b in zip(p_s, p_t, strict=True))
    return total / len(z_s)


@pytest.mark.parametrize(("tau_s", "tau_t"), [(0.2, 0.01), (0.2, 0.3), (0.07, 0.3)])
@pytest.mark.parametrize("size", [1, 7])
def test_value(size, tau_s, tau_t):
    rng = np.random.default_rng(size)
    case = [unit(rng.normal(size=(rows, 4))) for rows in (size, size, 9)]
    value = similarity_cross_entropy(*map(torch.tensor, case), tau_s, tau_t)
    assert value.item() == pytest.approx(reference(*case, tau_s, tau_t), rel=1e-9)


def test_the_gradient_is_zero_where_both_sides_and_temperatures_agree():
    z_teacher, queue = (nn.functional.normalize(torch.randn(rows, 4, dtype=torch.float64)) for rows in (7, 9))
    z_student = z_teacher.clone().requires_grad_()
    similarity_cross_entropy(z_student, z_teacher, queue, 0.2, 0.2).backward()
    assert z_student.grad.abs().max() < 1e-12
    similarity_cross_entropy(z_student, z_teacher, queue, 0.2, 0.1).backward()
    assert z_student.grad.abs().max() > 1e-3


def test_the_order_of_the_queue_does_not_matter():
    z_student, z_teacher, queue = (nn.functional.normalize(torch.randn(rows, 4)) for rows in (7, 7, 9))
    value = similarity_cross_entropy(z_student, z_teacher, queue)
    assert similarity_cross_entropy(z_student, z_teacher, queue.flip(0)).item() == pytest.approx(value.item(), rel=1e-5)


def test_terms_over_a_queue_that_begins_anew(context, make_step):
    """Each step sees the queue as the step before left it; 7, 7 and 2 images go into 10 places."""
    loss = SEED(context, queue=10, student_temperature=0.3, teacher_temperature=0.2)
    queue, slot = loss.queue.double().numpy().copy(), 0
    for seed, size in enumerate((7, 7, 2)):
        student, teacher, batch = make_step(size, seed)
        z_student = unit(loss.projector(student.embedding).detach().double().numpy())
        z_teacher = unit(teacher.embedding.detach().double().numpy())
        terms = loss(student, teacher, batch)
        assert list(terms) == ["seed"]
        assert terms["seed"].item() == pytest.approx(reference(z_student, z_teacher, queue, 0.3, 0.2), rel=1e-4)
        terms["seed"].backward()  # the queue has moved on; the gradient is of the one before
        assert student.embedding.grad.abs().sum() > 0
        for row in z_teacher:
            queue[slot] = row
            slot = (slot + 1) % 10
        np.testing.assert_allclose(loss.queue, queue, atol=1e-6)
        assert loss.oldest == slot
    assert not loss.queue.requires_grad


def test_the_gradient_is_that_of_the_queue_before_the_batch(context, make_step):
    student, teacher, batch = make_step()
    loss = SEED(context, queue=8)
    before = loss.queue.clone()
    loss(student, teacher, batch)["seed"].backward()
    again, _, _ = make_step()
    z_student = nn.functional.normalize(loss.projector(again.embedding))
    z_teacher = nn.functional.normalize(teacher.embedding.detach())
    similarity_cross_entropy(z_student, z_teacher, before).backward()
    torch.testing.assert_close(student.embedding.grad, again.embedding.grad)


@pytest.mark.parametrize("queue", [1, 3])
def test_a_batch_larger_than_the_queue_leaves_its_last_images(context, make_step, queue):
    student, teacher, batch = make_step(7)
    loss = SEED(context, queue=queue)
    loss(student, teacher, batch)
    expected = unit(teacher.embedding.detach().double().numpy())[-queue:]
    np.testing.assert_allclose(loss.queue, expected, atol=1e-6)
    assert loss.oldest == 0


def test_the_queue_starts_with_random_unit_vectors(context):
    queue = SEED(context, queue=4000).queue
    assert queue.shape == (4000, 11)
    torch.testing.assert_close(queue.norm(dim=1), torch.ones(4000))
    assert queue.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(queue.T @ queue / 4000, torch.eye(11) / 11, rtol=0, atol=0.02)


def test_the_teacher_s_scale_does_not_matter(context, make_step):
    student, teacher, batch = make_step()
    value = SEED(context, queue=9)
    state = {name: tensor.clone() for name, tensor in value.state_dict().items()}
    expected = value(student, teacher, batch)["seed"].item()
    value.load_state_dict(state)
    teacher.embedding = 40 * teacher.embedding
    assert value(student, teacher, batch)["seed"].item() == pytest.approx(expected, rel=1e-5)


def test_defaults(context):
    loss = SEED(context)
    assert loss.params.model_dump(exclude=DENSE) == {
        "queue": 65536,
        "teacher_temperature": 0.01,
        "student_temperature": 0.2,
        "projector": "mocov2",
    }
    assert {name: tuple(value.shape) for name, value in loss.state_dict().items()} == {
        "queue": (65536, 11),
        "oldest": (),
        "projector.0.weight": (6, 6),
        "projector.0.bias": (6,),
        "projector.2.weight": (11, 6),
        "projector.2.bias": (11,),
    }
