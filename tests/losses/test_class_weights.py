"""Weights of classes against torch's own, and those that are balanced."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchbench.data.batch import Mix
from benchbench.errors import StageError
from benchbench.losses.class_weights import class_weights
from benchbench.losses.methods.ce import cross_entropy, mixed_cross_entropy

LABELS = torch.tensor([0, 0, 0, 1, 2, 2])


def test_balanced_classes_have_one_weight_in_all():
    weights = class_weights("balanced", LABELS, ("a", "b", "c", "absent"))
    assert weights.tolist() == pytest.approx([6 / (4 * 3), 6 / 4, 6 / (4 * 2), 6 / 4])
    assert class_weights(None, LABELS, ("a", "b", "c")) is None


def test_weights_by_name():
    assert class_weights({"c": 3, "a": 0.5}, LABELS, ("a", "b", "c")).tolist() == [0.5, 1, 3]
    with pytest.raises(StageError, match="no class 'cc'; did you mean 'c'"):
        class_weights({"cc": 3}, LABELS, ("a", "b", "cat", "c"))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_mean_is_torch_s_and_linear_in_mixed_labels(smoothing):
    torch.manual_seed(0)
    logits, weights = torch.randn(6, 3), torch.tensor([0.5, 2.0, 1.0])
    value = cross_entropy(logits, LABELS, smoothing, weights)
    assert value == F.cross_entropy(logits, LABELS, weights, label_smoothing=smoothing)
    for share, labels in ((1.0, LABELS), (0.0, LABELS.flip(0))):
        mix = Mix(LABELS.flip(0), torch.full((6,), share))
        mixed = mixed_cross_entropy(logits, LABELS, mix, smoothing, weights)
        assert mixed == pytest.approx(float(cross_entropy(logits, labels, smoothing, weights)), rel=1e-6)
    soft = 0.3 * F.one_hot(LABELS, 3) + 0.7 * F.one_hot(LABELS.flip(0), 3)
    if not smoothing:
        expected = -(soft * weights * logits.log_softmax(1)).sum() / (soft * weights).sum()
        mixed = mixed_cross_entropy(logits, LABELS, Mix(LABELS.flip(0), torch.full((6,), 0.3)), 0.0, weights)
        assert mixed == pytest.approx(float(expected), rel=1e-6)
