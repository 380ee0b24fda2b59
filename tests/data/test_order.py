"""Balanced draws of training images."""

from __future__ import annotations

import torch

from benchbench.data.order import TrainingOrder, balanced_order, training_order

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
