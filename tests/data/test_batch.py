"""The main label of an image that is a mixture of two, and the tensors that lie on the device."""

from __future__ import annotations

from dataclasses import fields

import torch

from benchbench.data.batch import Batch, Mix


def test_the_label_of_the_larger_share_is_the_main_one():
    labels, other = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 6, 7])
    batch = Batch(torch.rand(4, 3, 2, 2), labels, torch.arange(4))
    assert torch.equal(batch.main_labels, labels)
    batch.mix = Mix(other, torch.tensor([1.0, 0.51, 0.49, 0.0]))
    assert batch.main_labels.tolist() == [0, 1, 6, 7]
    batch.mix = Mix(other, torch.full((4,), 0.5))
    assert torch.equal(batch.main_labels, labels)  # the image's own, where neither is larger


def test_all_tensors_but_the_index_of_the_host_are_on_the_device():
    """A batch that is prepared ahead is told of them: memory of one that were left out could be overwritten."""
    numbers = torch.arange(2)
    batch = Batch(torch.rand(2, 3, 2, 2), numbers.clone(), numbers.clone())
    assert [id(each) for each in batch.tensors()] == [id(batch.images), id(batch.labels), id(batch.index)]
    batch.synthetic, batch.host_index = numbers > 0, numbers.clone()
    batch.mix = Mix(numbers.clone(), torch.rand(2))
    values = [getattr(batch, field.name) for field in fields(Batch) if field.name != "host_index"]
    values += [getattr(batch.mix, field.name) for field in fields(Mix)]
    expected = {id(value) for value in values if isinstance(value, torch.Tensor)}
    assert {id(each) for each in batch.tensors()} == expected
    assert len(batch.tensors()) == 6
