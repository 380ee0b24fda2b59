"""Classes that a lower precision changes."""

from __future__ import annotations

import pytest
import torch

from benchbench.execution.agreement import CHUNK, Sample, changed_classes
from benchbench.models.outputs import Outputs


def network(logits=None, embedding=None):
    """Gives rows of these by the number that an image is filled with."""

    def run(images):
        rows = images[:, 0, 0, 0].long()
        return Outputs(
            logits[rows] if logits is not None else None, embedding[rows] if embedding is not None else images, []
        )

    return run


def numbered(count: int) -> torch.Tensor:
    return torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_top_classes_of_many_images():
    count = 2 * CHUNK + 10
    logits = torch.eye(5)[torch.arange(count) % 5]
    moved = logits.clone()
    moved[[1, CHUNK, count - 1]] = 1 - moved[[1, CHUNK, count - 1]]
    sample = Sample(numbered(count))
    assert changed_classes(network(logits), network(logits + 0.1), sample) == 0
    assert changed_classes(network(moved), network(logits), sample) == pytest.approx(3 / count)


def test_half_precision_is_read_as_it_is():
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    assert changed_classes(network(logits.bfloat16()), network(logits), Sample(numbered(2))) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_has_changed_everything(value):
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    broken = logits.clone()
    broken[0, 1] = value
    assert changed_classes(network(broken), network(logits), Sample(numbered(2))) == 1


def test_without_a_head_the_nearest_mean_of_a_class_counts():
    """A large constant part does not hide the distances; embeddings that move within their class change nothing."""
    expected = 1e4 + torch.tensor([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
    moved = expected.clone()
    moved[1, 0] += 1.9
    sample = Sample(numbered(4), torch.tensor([7, 7, 3, 3]))
    assert changed_classes(network(None, moved), network(None, expected), sample) == 0
    moved[1, 0] += 0.2
    assert changed_classes(network(None, moved), network(None, expected), sample) == 0.25


@pytest.mark.parametrize("labels", [None, torch.zeros(3, 2, 2, dtype=torch.long), torch.zeros(3, 4, 6)])
def test_without_a_class_for_each_every_image_is_told_from_all_others(labels):
    """Masks and boxes are none."""
    expected, sample = torch.tensor([[0.0], [1.0], [5.0]]), Sample(numbered(3), labels)
    assert changed_classes(network(None, expected + 0.4), network(None, expected), sample) == 0
    moved = expected + torch.tensor([[0.6], [0.0], [0.0]])
    assert changed_classes(network(None, moved), network(None, expected), sample) == pytest.approx(1 / 3)
