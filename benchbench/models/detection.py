"""A backbone with a head on its maps: a detection, with boxes around the objects of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchbench.models.outputs import BoxOutputs, Outputs
from benchbench.models.segmentation import MapsNetwork

# Columns of a row that is a box in an image: its corners in pixels, its class, its score, and its kind.
COLUMNS = 7
# Kinds of rows. Rows of NOTHING fill up, and are all zeros.
NOTHING, DETECTED, OBJECT, IGNORED_OBJECT = 0, 1, 2, 3
# Boxes of an image that are kept, as COCO counts them.
MOST_DETECTED = 100


class DetectionHead(nn.Module):
    """Base of heads of detections: `forward` on a backbone's maps, the loss of the task, and the boxes of images.

    Attributes:
        places: of the backbone's maps that it reads, shallow to deep; empty where it does not say.
    """

    places: Sequence[int] = ()

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, BoxOutputs]:
        """Maps [B, C, h, w] of the backbone -> logits of classes [B, A, classes], and boxes at A points."""
        raise NotImplementedError

    def loss(self, outputs: Outputs, boxes: Tensor) -> dict[str, Tensor]:
        """The terms of the task's loss, scalars, which add up.

        Args:
            outputs: of a batch, in float32.
            boxes: of the same images, as `benchbench.data.batch.Batch.boxes` [B, M, 6].
        """
        raise NotImplementedError

    def detections(self, outputs: Outputs, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each image the corners of its boxes [K, 4] in pixels, their scores [K], 0..1, and their classes [K].

        Args:
            outputs: of a batch, in float32.
            size: pixels of the images a side.
        """
        raise NotImplementedError


class DetectionNetwork(MapsNetwork):
    """A trunk with a head of detections on its maps; its embedding is that of the trunk, pooled over the image."""

    def outputs_of(self, maps: list[Tensor], embedding: Tensor) -> Outputs:
        assert self.head is not None
        logits, boxes = self.head(maps)
        return Outputs(logits, embedding, maps, boxes=boxes)

    @property
    def detector(self) -> DetectionHead:
        """Its head. Raises TypeError where a plugin's is no `DetectionHead`."""
        if not isinstance(self.head, DetectionHead):
            raise TypeError(f"the head of a detection is a {type(self.head).__name__}, and no DetectionHead")
        return self.head


def task_loss(model: nn.Module, outputs: Outputs, boxes: Tensor) -> Tensor:
    """The loss of a detection that its head trains on: a scalar.

    Args:
        model: of the outputs.
        outputs: of a batch.
        boxes: of its images [B, M, 6].
    """
    assert isinstance(model, DetectionNetwork)
    return torch.stack(list(model.detector.loss(outputs.each(Tensor.float), boxes).values())).sum()


def some_boxes(count: int, size: int, device: torch.device) -> Tensor:
    """One box in the middle of each image, of class 0 [B, 1, 6]: something to measure steps on."""
    box = torch.tensor([size / 4, size / 4, 3 * size / 4, 3 * size / 4, 0, 0], device=device)
    return box.expand(count, 1, 6)


@torch.no_grad()
def box_rows(head: DetectionHead, outputs: Outputs, boxes: Tensor, size: int) -> Tensor:
    """The detected boxes of each image, and those that are there: [B, MOST_DETECTED + M, COLUMNS].

    Args:
        head: of the network.
        outputs: of a batch, in float32.
        boxes: of its images [B, M, 6].
        size: pixels of the images a side.
    """
    count, objects = boxes.shape[:2]
    rows = boxes.new_zeros(count, MOST_DETECTED + objects, COLUMNS)
    for row, (corners, scores, classes) in zip(rows, head.detections(outputs, size), strict=True):
        found = torch.cat([corners, classes[:, None], scores[:, None], torch.full_like(scores, DETECTED)[:, None]], 1)
        found = found[scores.argsort(descending=True, stable=True)[:MOST_DETECTED]]
        row[: len(found)] = found
    there = boxes[..., 4] >= 0
    rows[:, MOST_DETECTED:, :5] = torch.where(there[..., None], boxes[..., :5], 0)
    kinds = torch.where(boxes[..., 5] > 0, IGNORED_OBJECT, OBJECT)
    rows[:, MOST_DETECTED:, 6] = torch.where(there, kinds, NOTHING)
    return rows
