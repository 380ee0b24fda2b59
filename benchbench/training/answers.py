"""Answers of a network on images: the top class of each, what its pixels are taken for, or the boxes found in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.hardware.accelerator import widest
from benchbench.models.backbone import Backbone
from benchbench.models.detection import DetectionNetwork, box_rows
from benchbench.models.outputs import Outputs
from benchbench.models.pixels import enlarged
from benchbench.statistics.detection import average_precisions, match, mean_average_precision
from benchbench.statistics.masks import IGNORED
from benchbench.statistics.segmentation import mean_iou
from benchbench.training.finite import NO_CLASS, top_classes


def answers_of(model: Backbone, outputs: Outputs, batch: Batch) -> Tensor:
    """The top class of each image [B], as `finite.top_classes`; of a segmentation `confusions` [B, C, C].

    Of a detection `box_rows` [B, L, 7]; all are NO_CLASS of an image whose outputs are not finite.

    Args:
        model: of the outputs.
        outputs: of a batch.
        batch: its images.
    """
    assert outputs.logits is not None
    if batch.boxes is not None:
        return _boxes_of(model, outputs.each(Tensor.float), batch.boxes, batch.images.shape[-1])
    return top_classes(outputs.logits) if batch.masks is None else confusions(outputs.logits, batch.masks)


def _boxes_of(model: Backbone, outputs: Outputs, boxes: Tensor, size: int) -> Tensor:
    assert isinstance(model, DetectionNetwork)
    finite = torch.stack([value.flatten(1).isfinite().all(1) for value in outputs.tensors()]).all(0)
    usable = outputs.each(torch.nan_to_num)
    return torch.where(finite.view(-1, 1, 1), box_rows(model.detector, usable, boxes, size), NO_CLASS)


def confusions(logits: Tensor, masks: Tensor) -> Tensor:
    """Pixels of each image by class (row) and top class (column), int64 [B, C, C].

    All are NO_CLASS of an image whose logits are not finite.

    Args:
        logits: [B, C, h, w], enlarged to the size of the masks.
        masks: classes of pixels [B, H, W]; those that are ignored do not count.
    """
    count, classes = logits.shape[:2]
    finite = logits.flatten(1).isfinite().all(1)
    top = enlarged(logits.float(), masks).argmax(1)
    images = torch.arange(count, device=masks.device).view(-1, 1, 1)
    places = ((images * classes + masks) * classes + top)[masks != IGNORED]
    counts = torch.bincount(places, minlength=count * classes**2).view(count, classes, classes)
    return torch.where(finite.view(-1, 1, 1), counts, NO_CLASS)


def score_of(answers: np.ndarray, labels: np.ndarray) -> float:
    """A score of answers, 0..1: accuracy [N], mean intersection over union [N, C, C], mean average precision [N, L, 7].

    Args:
        answers: as of `answers_of`.
        labels: classes of the images [N].
    """
    if are_boxes(answers):
        return mean_average_precision(average_precisions(match(answers)))
    return float((answers == labels).mean()) if answers.ndim == 1 else mean_iou(answers.sum(0))


def are_boxes(answers: np.ndarray) -> bool:
    """True for answers of a detection, which are numbers of pixels and scores; others are whole numbers."""
    return answers.dtype.kind == "f"


def share_right(logits: Tensor, batch: Batch) -> Tensor:
    """Share of a batch's images, or of its pixels at the size of the logits, whose top class is right: a scalar."""
    top = logits.detach().argmax(1)
    if batch.masks is None:
        return (top == batch.main_labels).to(widest(logits.device)).mean()
    rows, columns = (
        (torch.arange(small, device=top.device) * large) // small + large // (2 * small)
        for small, large in zip(top.shape[-2:], batch.masks.shape[-2:], strict=True)
    )
    masks = batch.masks[:, rows[:, None], columns]
    counts = masks != IGNORED
    return ((top == masks) & counts).sum() / counts.sum().clamp_min(1)
