"""Which label counts where an image is a mixture of two."""

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
