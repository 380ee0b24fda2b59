"""Heads that losses add to a student."""

from __future__ import annotations

import pytest
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.multi_teacher import add_student_heads
from benchbench.models.backbone import Backbone, Trunk
from tests.specs import loss_spec


def network(with_token: bool = False, dim: int = 6, classes: int | None = 5) -> Backbone:
    """A network without anything in it; with a distillation token on `with_token`."""
    trunk = Trunk(nn.Flatten(), dim, (0.5,) * 3, (0.5,) * 3)
    if with_token:
        trunk.with_token = lambda images: (images.flatten(1)[:, :dim], images.flatten(1)[:, -dim:], [])
    return Backbone(trunk, classes)


def test_a_student_whose_losses_need_no_head_stays_as_it_is(registry):
    model = network(with_token=True)
    head = model.head
    add_student_heads(model, [loss_spec("ce"), loss_spec("kd"), loss_spec("srrl")], registry, [11, 4])
    assert model.head is head
    assert model.token_head is None


@pytest.mark.parametrize("dims", [[], [11], [11, 4]])
def test_a_token_gets_a_head_where_a_loss_reads_it(registry, dims):
    model = network(with_token=True)
    head = model.head
    add_student_heads(model, [loss_spec("ce"), loss_spec("on_token")], registry, dims)
    assert model.head is head
    assert isinstance(model.token_head, nn.Linear)
    assert (model.token_head.in_features, model.token_head.out_features) == (6, 5)
    without = network()
    with pytest.raises(StageError, match="loss 'on_token' needs a student with a distillation token"):
        add_student_heads(without, [loss_spec("on_token")], registry, dims)


def test_a_loss_replaces_the_student_s_head(registry):
    model = network(with_token=True)
    add_student_heads(model, [loss_spec("ce"), loss_spec("on_token"), loss_spec("replacing", width=7)], registry, [11])
    assert model.head.arguments == (6, 11, 5, {"width": 7})
    assert model.token_head is not None
    assert {name.split(".")[0] for name in model.state_dict()} == {"head", "token_head", "mean", "std"}


def test_two_losses_cannot_both_replace_it(registry):
    model = network()
    head = model.head
    with pytest.raises(StageError) as caught:
        add_student_heads(model, [loss_spec("also_replacing"), loss_spec("ce"), loss_spec("replacing")], registry, [11])
    assert str(caught.value) == (
        "losses 'also_replacing' and 'replacing' both replace the student's classifier; take one of them"
    )
    assert model.head is head


@pytest.mark.parametrize("dims", [[], [11, 4]])
def test_a_replaced_head_is_one_teacher_s(registry, dims):
    with pytest.raises(StageError) as caught:
        add_student_heads(network(), [loss_spec("ce"), loss_spec("replacing")], registry, dims)
    assert str(caught.value) == "loss 'replacing' makes the student's classifier for one teacher; give one teacher"
