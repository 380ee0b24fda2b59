"""Answers of a network on images, and on their pixels."""

import numpy as np
import torch

from benchbench.data.batch import Batch
from benchbench.models.outputs import Outputs
from benchbench.statistics.masks import IGNORED
from benchbench.statistics.segmentation import mean_iou
from benchbench.training.answers import answers_of, confusions, score_of, share_right
from benchbench.training.finite import NO_CLASS


def batch_of(masks: torch.Tensor | None, labels: torch.Tensor) -> Batch:
    return Batch(torch.rand(len(labels), 3, 4, 4), labels, torch.arange(len(labels)), masks=masks)


def test_pixels_are_counted_image_by_image():
    torch.manual_seed(0)
    masks, logits = torch.randint(0, 3, (4, 6, 6)), torch.randn(4, 3, 6, 6)
    masks[1] = IGNORED
    masks[:, 0] = IGNORED
    counts = confusions(logits, masks)
    for image in range(4):
        expected = np.zeros((3, 3), int)
        for truth, top in zip(masks[image].flatten().tolist(), logits[image].argmax(0).flatten().tolist(), strict=True):
            if truth != IGNORED:
                expected[truth, top] += 1
        assert counts[image].tolist() == expected.tolist()
    assert counts[1].sum() == 0
    assert score_of(counts.numpy(), np.zeros(4)) == mean_iou(counts.numpy().sum(0))


def test_logits_are_enlarged_to_the_masks():
    masks = torch.tensor([[[0, 0, 1, 1]] * 4])
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 1, :, 1], logits[:, 0, :, 0] = 5.0, 5.0
    assert confusions(logits, masks)[0].tolist() == [[8, 0], [0, 8]]


def test_an_image_whose_logits_are_not_finite_has_no_class():
    logits = torch.zeros(2, 2, 2, 2)
    logits[1, 0, 0, 0] = float("nan")
    counts = answers_of(
        torch.nn.Identity(),
        Outputs(logits, torch.zeros(2, 1)),
        batch_of(torch.zeros(2, 2, 2).long(), torch.zeros(2).long()),
    )
    assert counts[0].tolist() == [[4, 0], [0, 0]]
    assert bool((counts[1] == NO_CLASS).all())


def test_of_images_it_is_the_top_class():
    labels, logits = torch.tensor([0, 1, 1]), torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    answers = answers_of(torch.nn.Identity(), Outputs(logits, torch.zeros(3, 1)), batch_of(None, labels))
    assert answers.tolist() == [0, 0, 1]
    assert score_of(answers.numpy(), labels.numpy()) == 2 / 3
    assert share_right(logits, batch_of(None, labels)) == 2 / 3


def test_the_share_of_right_pixels_is_taken_at_the_size_of_the_logits():
    masks = torch.zeros(1, 8, 8).long()
    masks[:, :, 4:], masks[:, :2] = 1, IGNORED
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 1, :, 3] = 1.0  # one column of the two that are of class 1
    assert share_right(logits, batch_of(masks, torch.zeros(1).long())) == 9 / 12
