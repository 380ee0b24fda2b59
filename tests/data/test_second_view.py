"""A second view of each image: beside the first one, and of draws of its own."""

from __future__ import annotations

import pytest
import torch

from tests.data.test_loader import KINDS, assert_same, loader


def epoch(kind, start=0, number=0, workers=0):
    both = loader(kind, workers=workers)
    both.second_view = True
    return list(both.train_batches(1, number, 5, start))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_view_is_the_same_with_and_without(kind):
    batches, plain = epoch(kind), list(loader(kind).train_batches(1, 0, 5, 0))
    assert_same(batches, plain)
    assert all(batch.second_view is None for batch in plain)
    assert all(batch.second_view.shape == batch.images.shape for batch in batches)
    same = [
        torch.equal(one, other) for batch in batches for one, other in zip(batch.images, batch.second_view, strict=True)
    ]
    assert sum(same) < len(same) / 4  # one flip and 25 places of a window


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_drawn_from_seed_and_epoch(kind):
    """So that a run that goes on sees it again; other epochs have others."""
    seconds = [batch.second_view for batch in epoch(kind)]
    assert all(map(torch.equal, [batch.second_view for batch in epoch(kind, start=2)], seconds[2:]))
    assert not any(map(torch.equal, [batch.second_view for batch in epoch(kind, number=1)], seconds))


def test_loader_processes_change_nothing():
    both = epoch("streamed"), epoch("streamed", workers=2)
    assert_same(*both)
    assert all(torch.equal(one.second_view, other.second_view) for one, other in zip(*both, strict=True))


def test_parts_of_a_batch_have_their_own():
    """Of a batch in parts, and of its real images alone."""
    batch = epoch("resident")[0]
    assert torch.equal(batch.parts(2)[1].second_view, batch.second_view[1::2])
    assert torch.equal(batch.part(torch.tensor([3, 0])).second_view, batch.second_view[[3, 0]])
