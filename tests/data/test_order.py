"""Balanced draws of training images, and images of a step."""

from __future__ import annotations

import pytest
import torch

from benchbench.data.order import Blend, TrainingOrder, balanced_order, training_order

LABELS = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)


def test_every_class_is_drawn_as_often():
    order = balanced_order(LABELS, 1, 0, 100)
    assert order.shape == (10, 100)
    counts = LABELS[order].flatten().bincount()
    assert counts.sum() == 1000
    assert (counts - 1000 / 3).abs().max() < 60  # four standard deviations
    assert len(order[LABELS[order] == 2].unique()) == 10


def test_a_draw_is_the_seed_s_and_the_epoch_s():
    assert torch.equal(balanced_order(LABELS, 1, 3, 7), balanced_order(LABELS, 1, 3, 7))
    others = [balanced_order(LABELS, 1, 4, 7), balanced_order(LABELS, 2, 3, 7)]
    assert not any(torch.equal(balanced_order(LABELS, 1, 3, 7), each) for each in others)


def test_an_order_is_balanced_where_it_is_asked_for():
    order = TrainingOrder()
    order.labels, order.blend = LABELS, None
    assert torch.equal(order._order(1, 0, 100), training_order(1000, 1, 0, 100))
    order.balanced = True
    assert torch.equal(order._order(1, 0, 100), balanced_order(LABELS, 1, 0, 100))


@pytest.mark.parametrize("blend", [None, Blend(100), Blend(100, (0.5, 0.5))])
@pytest.mark.parametrize("batch_size", [8, 256, 2000])
def test_images_of_a_step_are_those_of_its_batch(blend, batch_size):
    """Also where a fixed share of generated images joins fewer real ones than a batch could hold."""
    order = TrainingOrder()
    order.labels, order.blend = LABELS, blend
    batches = order._order(1, 0, batch_size)
    assert batches.shape == (order.steps(batch_size), order.images_a_step(batch_size))
