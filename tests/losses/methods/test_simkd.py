from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.losses.methods.simkd import ReusedHead, SimKD
from benchbench.losses.projectors import BatchNorm
from benchbench.models.build import build_backbone
from benchbench.models.outputs import Outputs
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec
from tests.losses.plain import array, conv, normed, pooled


@pytest.fixture
def make_loss(context):
    """As a training stage does: the head first."""

    def make(**params) -> tuple[SimKD, ReusedHead, LossContext]:
        head = SimKD.make_head(6, 11, 5, **params)
        context.student_head = head
        return SimKD(context, **params), head, context

    return make


def projected(head: ReusedHead, h: np.ndarray, relu: bool = True) -> np.ndarray:
    """Three times Linear, BN by the batch's own statistics, ReLU; no ReLU after the last without `relu`."""
    layers = list(head.projector)
    for step in range(3):
        weight = layers[3 * step].weight.detach().double().numpy()
        h = np.array([[sum(w * v for w, v in zip(row, x, strict=True)) for row in weight] for x in h])
        for column in h.T:
            column[:] = (column - np.mean(column)) / np.sqrt(np.mean((column - np.mean(column)) ** 2) + 1e-5)
        h = np.where(h > 0, h, 0) if relu or step < 2 else h
    return h


@pytest.mark.parametrize("relu", [True, False])
def test_value(make_loss, make_step, relu):
    student, teacher, batch = make_step()
    loss, head, _ = make_loss(relu=relu)
    value = projected(head, student.embedding.detach().double().numpy(), relu)
    target = teacher.embedding.detach().double().numpy()
    terms = loss(student, teacher, batch)
    assert list(terms) == ["simkd"]
    expected = sum((a - b) ** 2 for a, b in zip(value.ravel(), target.ravel(), strict=True)) / target.size
    assert terms["simkd"].item() == pytest.approx(expected, rel=1e-4)


def test_the_head_gives_the_teacher_s_logits_where_the_projector_gives_its_embedding(make_loss, make_step):
    _, teacher, batch = make_step()
    loss, head, context = make_loss()
    head.projector = nn.Identity()
    student = Outputs(None, teacher.embedding.detach().clone().requires_grad_())
    torch.testing.assert_close(head(student.embedding), context.teacher_head(teacher.embedding), rtol=0, atol=0)
    assert loss(student, teacher, batch)["simkd"] == 0


def test_the_head_classifies_what_its_projector_gives(make_loss, make_step):
    student, _, _ = make_step()
    _, head, context = make_loss()
    expected = context.teacher_head(copy.deepcopy(head.projector)(student.embedding))
    torch.testing.assert_close(head(student.embedding), expected)


def test_a_teacher_s_classifier_without_bias(context):
    context.teacher_head = nn.Linear(11, 5, bias=False)
    context.student_head = SimKD.make_head(6, 11, 5)
    SimKD(context)
    h = torch.randn(3, 11)
    torch.testing.assert_close(context.student_head.classifier(h), context.teacher_head(h), rtol=0, atol=0)


def test_the_classifier_is_a_frozen_copy_and_the_projector_trains(make_loss, make_step):
    student, teacher, batch = make_step()
    loss, head, context = make_loss()
    assert head.classifier.weight.data_ptr() != context.teacher_head.weight.data_ptr()
    assert not any(parameter.requires_grad for parameter in head.classifier.parameters())
    (loss(student, teacher, batch)["simkd"] + head(student.embedding).square().sum()).backward()
    assert all(parameter.grad is None for parameter in head.classifier.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.projector.parameters())
    assert student.embedding.grad.abs().sum() > 0


def test_the_loss_owns_nothing_and_the_student_saves_the_head(make_loss):
    loss, head, _ = make_loss()
    assert not list(loss.parameters())
    assert not loss.state_dict()
    restored = SimKD.make_head(6, 11, 5)
    restored.load_state_dict(head.state_dict())
    h = torch.randn(4, 6)
    assert torch.equal(restored.eval()(h), head.eval()(h))


def test_a_batch_counts_once_in_the_running_statistics(make_loss, make_step):
    student, teacher, batch = make_step()
    loss, head, _ = make_loss()
    head(student.embedding)  # the student's own pass
    before = copy.deepcopy(head.state_dict())
    assert before["projector.1.num_batches_tracked"] == 1
    loss(student, teacher, batch)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


@pytest.mark.parametrize(
    ("params", "widths"), [({}, [5, 5, 11]), ({"factor": 4}, [2, 2, 11]), ({"factor": 40}, [1, 1, 11])]
)
def test_widths(params, widths):
    head = SimKD.make_head(6, 11, 5, **params)
    linear = [layer for layer in head.projector if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [6, *widths[:-1]]
    assert [layer.out_features for layer in linear] == widths
    assert all(layer.bias is None for layer in linear)
    assert sum(isinstance(layer, BatchNorm) for layer in head.projector) == 3


def test_without_the_last_relu_negative_entries_are_within_reach():
    h = torch.randn(7, 6)
    assert SimKD.make_head(6, 11, 5).projector(h).min() == 0
    assert SimKD.make_head(6, 11, 5, relu=False).projector(h).min() < 0


@pytest.mark.parametrize("head", [None, abs])
def test_a_teacher_without_a_linear_head_is_refused(context, head):
    context.student_head = SimKD.make_head(6, 11, 5)
    context.teacher_head = head
    with pytest.raises(StageError, match="'simkd' needs a teacher with a linear task head"):
        SimKD(context)


def test_another_head_of_the_student_is_refused(context):
    context.student_head = nn.Linear(6, 5)
    with pytest.raises(StageError, match="'simkd' needs the student's head"):
        SimKD(context)


def on_maps(head: ReusedHead, x: np.ndarray) -> np.ndarray:
    """Three times a convolution of 1, 3 and 1 positions, BN by the batch's own statistics, ReLU."""
    for step, layer in enumerate(part for part in head.projector if isinstance(part, nn.Conv2d)):
        x = np.maximum(normed(conv(x, array(layer.weight))), 0)
        assert layer.weight.shape[2] == (1, 3, 1)[step]
    return x


def test_maps(context, make_step):
    student, teacher, batch = make_step()
    context.student_head = head = SimKD.make_head(6, 11, 5, maps=True)
    loss = SimKD(context, maps=True)
    projected = on_maps(head, array(student.features[-1]))
    expected = ((projected - pooled(array(teacher.features[-1]), 2)) ** 2).mean()
    value = loss(student, teacher, batch)["simkd"]
    assert value.item() == pytest.approx(expected, rel=1e-5)
    logits = projected.mean(axis=(2, 3)) @ array(head.classifier.weight).T + array(head.classifier.bias)
    np.testing.assert_allclose(array(head(student.features[-1])), logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(head.classifier.weight, context.teacher_head.weight)
    value.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.projector.parameters())


@pytest.mark.parametrize(("side", "message"), [("student", "they have 4 and 6"), ("teacher", "the map has 4 channels")])
def test_a_map_that_is_not_pooled_into_the_embedding_is_refused(context, side, message):
    context.student_head = SimKD.make_head(6, 11, 5, maps=True)
    getattr(context, f"{side}_features")[-1] = (4, 2, 2)
    with pytest.raises(StageError, match=f"{message}.*; take another {side}"):
        SimKD(context, maps=True)


def test_a_teacher_s_map_must_be_pooled_into_what_its_classifier_reads(context):
    """The student's own embedding is read by nothing: its new head pools the map."""
    context.student_pools = context.teacher_pools = False
    context.student_head = SimKD.make_head(6, 11, 5, maps=True)
    with pytest.raises(StageError, match=r"this teacher's is not .*; take it without `maps`, or another teacher"):
        SimKD(context, maps=True)
    context.teacher_pools = True
    SimKD(context, maps=True)
    context.teacher_pools, context.student_head = False, SimKD.make_head(6, 11, 5)
    SimKD(context)


def test_the_network_gives_its_last_map_to_the_head():
    """And the same logits whether the maps are asked for or not."""
    model = build_backbone(ModelSpec(source="cifar", name="resnet8"), "student", load_plugins().registry, 5)
    model.head = SimKD.make_head(model.dim, 11, 5, maps=True)
    images = torch.rand(3, 3, 16, 16)
    plain, with_maps = model.eval()(images), model(images, features=True)
    assert not plain.features
    torch.testing.assert_close(plain.logits, model.head(with_maps.features[-1]))
    torch.testing.assert_close(plain.logits, with_maps.logits)
