"""Generated images beside real ones: which are taken, under which names, and in which order they come."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.order import Blend, training_order
from benchbench.data.streaming import StreamingLoader
from benchbench.data.synthetic import SyntheticSelection, joined, take
from benchbench.data.transforms import Transform
from benchbench.errors import DataError
from benchbench.specs.parts import SyntheticUseSpec

USE = SyntheticUseSpec(set="made", at_most=6)


def use(**changes) -> SyntheticUseSpec:
    return USE.model_copy(update=changes)


def _image(pixels, number):
    return Image.fromarray(pixels[number])


def images(values: list[int], labels: list[int], side: int = 6, numbers: list[int] | None = None) -> ImageDataset:
    pixels = np.stack([np.full((side, side, 3), value, np.uint8) for value in values])
    places = None if numbers is None else np.array(numbers)
    return ImageDataset(np.array(labels), ("a", "b"), partial(_image, pixels), pixels, places)


MADE = images([100, 101, 102, 103, 110, 111], [0, 0, 0, 0, 1, 1], numbers=[0, 1, 2, 3, 0, 1])


class TestTaking:
    def test_all_of_a_set(self):
        selection = take(MADE, np.array([2, 1]), USE, None)
        assert selection.indices.tolist() == list(range(6))
        assert selection.labels.tolist() == MADE.labels.tolist()
        assert selection.report == {"set": "made", "images": 6, "kept": 6}

    def test_so_many_times_the_real_ones_of_each_class(self):
        assert take(MADE, np.array([2, 1]), use(times=1), None).indices.tolist() == [0, 1, 4]
        assert take(MADE, np.array([1, 2]), use(times=1.5), None).indices.tolist() == [0, 1, 4, 5]

    def test_the_judge_s_labels(self):
        logits = np.array([[2, 0], [0, 2], [2, 0], [2, 0], [0, 2], [2, 0]], np.float16)
        selection = take(MADE, np.array([2, 1]), use(labels="teacher"), logits)
        assert selection.labels.tolist() == [0, 1, 0, 0, 1, 0]
        assert selection.report["relabelled"] == 2

    def test_what_the_judge_is_unsure_of_is_left_out(self):
        logits = np.log(np.array([[9, 1], [4, 6], [7, 3], [5, 5], [2, 8], [8, 2]], float))
        asked = take(MADE, np.array([2, 1]), use(min_confidence=0.69), logits)
        assert (asked.indices.tolist(), asked.report["left_out"]) == ([0, 2, 4], 3)
        seen = take(MADE, np.array([2, 1]), use(min_confidence=0.69, labels="teacher"), logits)
        assert (seen.indices.tolist(), seen.labels.tolist()) == ([0, 2, 4, 5], [0, 0, 1, 0])

    def test_nothing_left(self):
        with pytest.raises(DataError, match="no image of set 'made' is left"):
            take(MADE, np.array([2, 1]), use(min_confidence=0.99), np.zeros((6, 2)))


class TestJoining:
    TAKEN = SyntheticSelection(np.array([0, 4]), np.array([0, 1]), {})

    def test_generated_ones_come_after_real_ones(self):
        real = images([1, 2, 3], [0, 1, 0])
        whole = joined(real, np.array([2, 0]), MADE, self.TAKEN)
        assert whole.array[:, 0, 0, 0].tolist() == [3, 1, 100, 110]
        assert whole.labels.tolist() == [0, 0, 0, 1]
        assert [np.array(whole.image(number))[0, 0, 0] for number in range(4)] == [3, 1, 100, 110]

    def test_sizes_are_brought_to_that_of_the_real_ones(self):
        whole = joined(images([1], [0], side=12), np.array([0]), MADE, self.TAKEN)
        assert whole.array.shape == (3, 12, 12, 3)

    def test_streamed_where_the_real_ones_are(self):
        real = images([1, 2], [0, 1])
        real.array = None
        whole = joined(real, np.array([1]), MADE, self.TAKEN)
        assert whole.array is None
        assert [np.array(whole.image(number))[0, 0, 0] for number in range(3)] == [2, 100, 110]


class TestOrder:
    def test_added_ones_are_shuffled_with_the_others(self):
        assert torch.equal(Blend(6).order(10, 3, 1, 4), training_order(10, 3, 1, 4))
        assert Blend(6).steps(10, 4) == 2

    @pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
    def test_a_share_of_each_batch(self, share):
        blend = Blend(16, (share, share), epochs=5)
        order = blend.order(21, 0, 2, 8)
        assert order.shape == (2, 8)
        assert blend.steps(21, 8) == 2
        assert (order >= 16).sum(1).tolist() == [round(share * 8)] * 2
        real = order[order < 16]
        assert len(real.unique()) == len(real)
        assert torch.equal(order, blend.order(21, 0, 2, 8))
        assert share == 0 or not torch.equal(order, blend.order(21, 0, 3, 8))

    def test_few_generated_ones_come_again_and_again(self):
        order = Blend(64, (0.5, 0.5)).order(67, 0, 0, 8)
        counts = torch.bincount(order[order >= 64] - 64)
        assert counts.tolist() == pytest.approx([32 / 3] * 3, abs=1)

    def test_a_curriculum_moves_evenly(self):
        blend = Blend(100, (0.0, 0.8), epochs=5)
        assert [int((blend.order(200, 0, epoch, 10)[0] >= 100).sum()) for epoch in range(5)] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("loader", [InMemoryLoader, StreamingLoader])
def test_batches_say_which_images_were_generated(loader):
    whole = joined(
        images(list(range(8)), [0, 1] * 4), np.arange(8), MADE, SyntheticSelection(np.arange(6), MADE.labels, {})
    )
    transform = Transform(6, None, [])
    workers = [0] if loader is StreamingLoader else []
    blended = loader(
        ImageSubset(whole, np.arange(14)), transform, torch.device("cpu"), *workers, Blend(8, (0.5, 0.5), 2)
    )
    assert blended.steps(4) == 2
    for batch in blended.train_batches(0, 0, 4, 0):
        assert batch.synthetic.tolist() == (batch.index >= 8).tolist()
        assert batch.synthetic.sum() == 2
        value = (batch.images[:, 0, 0, 0] * 255).round()
        assert (value >= 100).tolist() == batch.synthetic.tolist()
        assert torch.equal(batch.labels, torch.from_numpy(whole.labels)[batch.index])
    rest = list(blended.train_batches(0, 0, 4, 1))
    assert torch.equal(rest[0].images, list(blended.train_batches(0, 0, 4, 0))[1].images)
