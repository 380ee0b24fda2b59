"""Cross-entropy of pixels against PyTorch's own, and pixels as samples."""

import pytest
import torch
from torch.nn import functional as F

from benchbench.models.pixels import by_pixel, enlarged, target_cross_entropy
from benchbench.statistics.masks import IGNORED

WEIGHTS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)


@pytest.fixture
def logits_and_masks():
    torch.manual_seed(0)
    masks = torch.randint(0, 3, (2, 8, 8))
    masks[:, :3] = IGNORED
    return torch.randn(2, 3, 4, 4, dtype=torch.float64), masks


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_mean_over_the_pixels_that_count(logits_and_masks, weights, smoothing):
    logits, masks = logits_and_masks
    large = F.interpolate(logits, (8, 8), mode="bilinear", align_corners=False)
    kept = masks.flatten() != IGNORED
    rows = large.permute(0, 2, 3, 1).flatten(0, 2)[kept]
    expected = F.cross_entropy(rows, masks.flatten()[kept], weights, label_smoothing=smoothing)
    torch.testing.assert_close(target_cross_entropy(logits, masks, weights, smoothing), expected)


def test_without_a_pixel_that_counts_it_is_zero(logits_and_masks):
    logits, masks = logits_and_masks
    logits.requires_grad_()
    for weights in (None, WEIGHTS):
        loss = target_cross_entropy(logits, torch.full_like(masks, IGNORED), weights)
        assert loss == 0
        assert torch.equal(torch.autograd.grad(loss, logits)[0], torch.zeros_like(logits))


def test_of_images_it_is_pytorch_s():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    assert torch.equal(target_cross_entropy(logits, labels), F.cross_entropy(logits, labels))


def test_pixels_become_samples_at_the_student_s_size():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 8, 8)
    s, t = by_pixel(student, teacher)
    assert s.shape == t.shape == (32, 3)
    assert torch.equal(s[5], student[0, :, 1, 1])
    assert torch.equal(by_pixel(teacher, teacher)[1][63], teacher[0, :, 7, 7])
    assert enlarged(teacher, torch.zeros(2, 8, 8)) is teacher
