"""Numbers that are not finite, and embeddings that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.training.finite import (
    NO_CLASS,
    EmbeddingSpread,
    broken_tensors,
    require_finite_losses,
    require_finite_network,
    require_finite_outputs,
    top_classes,
)

NAN, INF = float("nan"), float("inf")


def test_the_top_class_of_logits_that_are_not_finite_is_none():
    logits = torch.tensor([[0.0, 2.0, 1.0], [NAN, 0.0, 1.0], [INF, 0.0, 0.0], [-INF, 3.0, -INF], [-INF] * 3])
    assert top_classes(logits).tolist() == [1, NO_CLASS, NO_CLASS, 1, NO_CLASS]


def test_broken_outputs_are_counted_with_the_first():
    require_finite_outputs(np.array([0, 1, 2]), "test")
    with pytest.raises(StageError, match=r"^logits are not finite on 2 of 4 test images \(the first is number 1\); "):
        require_finite_outputs(np.array([0, NO_CLASS, 2, NO_CLASS]), "test")


def test_weights_and_buffers_are_looked_at_and_masks_left():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    network.register_buffer("mask", torch.tensor([0.0, -INF]))
    masks = broken_tensors(network)
    assert masks == ["mask"]
    require_finite_network(network, masks, "epoch 1")
    network[1].running_var[2] = INF
    with pytest.raises(StageError, match=r"^weights are not finite after epoch 3 \(1\.running_var\), though .*; lower"):
        require_finite_network(network, masks, "epoch 3")


@pytest.mark.parametrize(
    ("first", "steps", "end"), [(4, 9, " (first at step 4 of 9)"), (1, 1, ""), (None, 9, "")], ids=str
)
def test_the_loss_is_named_with_its_first_step(first, steps, end):
    with pytest.raises(StageError) as caught:
        require_finite_losses({"ce": 1.0, "kd": NAN, "loss": NAN}, first, steps, "epoch 2")
    assert str(caught.value) == f"loss is nan in epoch 2 (terms: kd); lower the rate or the term's weight{end}"


def spread(*batches: torch.Tensor):
    each = EmbeddingSpread()
    for batch in batches:
        each.add(batch)
    return each.measure()


def test_the_spread_is_the_root_mean_square_distance_in_norms():
    torch.manual_seed(0)
    values = torch.randn(60, 8, dtype=torch.float64) + 3
    deviation = (values - values.mean(0)).square().sum(1).mean().sqrt()
    expected = float(deviation / values.square().sum(1).mean().sqrt())
    assert spread(values[:50], values[50:]).relative == pytest.approx(expected, rel=1e-9)


def test_equal_embeddings_have_none_however_large():
    assert spread(torch.full((5, 3), 1e6)) == (0.0, 1.0)
    assert spread(torch.zeros(5, 3)) == (0.0, 1.0)


def test_constant_dimensions_are_counted():
    values = torch.zeros(10, 4)
    values[:, 1] = torch.arange(10)
    assert spread(values).constant == 0.75


@pytest.mark.parametrize("values", [torch.ones(1, 3), torch.full((4, 3), NAN)], ids=["one", "nan"])
def test_nothing_is_known_of_one_image_or_of_no_numbers(values):
    assert spread(values) is None
