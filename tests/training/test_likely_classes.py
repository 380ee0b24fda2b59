"""The likeliest classes of each image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

from benchbench.training.finite import top_classes
from benchbench.training.likely_classes import MOST, LikelyClasses


@pytest.mark.parametrize("count", [1, 2, MOST, 100])
def test_they_are_the_first_of_the_softmax(count):
    torch.manual_seed(0)
    logits = 3 * torch.randn(40, count)
    likely = LikelyClasses()
    for batch in logits.split(17):
        likely.add(batch)
    classes, probabilities = likely.arrays()
    expected = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :MOST]
    assert classes.tolist() == expected.tolist()
    powers = np.exp(logits.double().numpy())
    shares = np.take_along_axis(powers / powers.sum(1, keepdims=True), expected, 1)
    assert probabilities.dtype == np.float16
    assert np.abs(probabilities - shares).max() < 5e-4


def test_the_first_is_the_class_that_counts_also_among_equal_logits():
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [5.0, -torch.inf, 5.0, -torch.inf]])
    likely = LikelyClasses()
    likely.add(logits.bfloat16())
    classes, probabilities = likely.arrays()
    assert classes[:, 0].tolist() == top_classes(logits).tolist()
    assert all(len(set(row)) == 4 for row in classes.tolist())
    assert probabilities.sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


class Threads:
    """Threads in the place of processes, for `LikelyClasses.gather`."""

    device = torch.device("cpu")

    def __init__(self, size: int):
        self.barrier, self.values = Barrier(size, timeout=10), []

    def each(self, value):
        self.values.append(value)
        self.barrier.wait()
        values = list(self.values)
        if self.barrier.wait() == 0:
            self.values.clear()
        self.barrier.wait()
        return values

    def total(self, values):
        assert len({(each.dtype, each.shape) for each in self.each(values)}) == 1
        return sum(self.each(values))


def test_a_process_without_a_batch_has_part_in_what_others_have():
    logits, world = torch.randn(7, 10), Threads(2)

    def gathered(batches, indices):
        likely = LikelyClasses()
        for batch in batches:
            likely.add(batch)
        likely.gather(world, indices, len(logits))
        return likely.arrays()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gathered, [logits], [torch.arange(7)])
        second = pool.submit(gathered, [], [])
    alone = LikelyClasses()
    alone.add(logits)
    for arrays in (first.result(), second.result()):
        assert all(np.array_equal(one, other) for one, other in zip(arrays, alone.arrays(), strict=True))
