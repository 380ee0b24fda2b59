"""A backbone with a head on its maps: a detection, with boxes around the objects of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from benchbench.errors import StageError
from benchbench.models.outputs import BoxOutputs, Outputs
from benchbench.models.pixels import target_cross_entropy
from benchbench.models.segmentation import MapsNetwork
from benchbench.statistics.detection import DETECTED, OBJECT

# Columns of a row that is a box in an image: its corners in pixels, its class, its score, and its kind.
COLUMNS = 7
# A kind of rows beside those of `benchbench.statistics.detection`: they fill up, and are all zeros.
NOTHING = 0
# Boxes of an image that are kept, as COCO counts them.
MOST_DETECTED = 100
# Of boxes before overlapping ones are dropped, and where they are (Tian et al. 2019, section 3.1).
LEAST_SCORE, OVERLAP, CANDIDATES = 0.05, 0.6, 1000


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

        Here those of `candidates`, of which a box that overlaps a better one of its class is dropped.

        Args:
            outputs: of a batch, in float32.
            size: pixels of the images a side.
        """
        found = []
        for corners, scores in zip(*candidates(outputs, size), strict=True):
            values, places = scores.flatten().topk(min(CANDIDATES, scores.numel()))
            places, values = places[values > LEAST_SCORE], values[values > LEAST_SCORE]
            points, classes = places // scores.shape[1], places % scores.shape[1]
            kept = batched_nms(corners[points], values, classes, OVERLAP)[:MOST_DETECTED]
            found.append((corners[points[kept]], values[kept], classes[kept]))
        return found


class DetectionNetwork(MapsNetwork):
    """A trunk with a head of detections on its maps; its embedding is that of the trunk, pooled over the image."""

    def forward(self, images: Tensor, features: bool = False) -> Outputs:
        """One forward pass, with points in pixels of these images, whatever size the trunk takes; see `MapsNetwork`."""
        outputs, side = super().forward(images, features), images.shape[-1]
        if outputs.boxes is not None and self.input_size not in (None, side):
            outputs.boxes.points = outputs.boxes.points * (side / self.input_size)
        return outputs

    def outputs_of(self, maps: list[Tensor], embedding: Tensor) -> Outputs:
        assert self.head is not None
        logits, boxes = self.head(maps)
        return Outputs(logits, embedding, maps, boxes=boxes)

    @property
    def detector(self) -> DetectionHead:
        """Its head. Raises StageError where a plugin's is no `DetectionHead`."""
        if not isinstance(self.head, DetectionHead):
            raise StageError(f"the head of a detection is a {type(self.head).__name__}, and no DetectionHead")
        return self.head


def task_loss(model: nn.Module, outputs: Outputs, targets: Tensor) -> Tensor:
    """The loss of a task, without a recipe's smoothing and weights: a scalar.

    That of the head on boxes; else cross-entropy.

    Args:
        model: of the outputs.
        outputs: of a batch.
        targets: as of `benchbench.data.batch.Batch.targets`.
    """
    if outputs.boxes is None:
        assert outputs.logits is not None
        return target_cross_entropy(outputs.logits.float(), targets)
    assert isinstance(model, DetectionNetwork)
    return torch.stack(list(model.detector.loss(outputs.each(Tensor.float), targets).values())).sum()


def some_boxes(count: int, size: int, device: torch.device) -> Tensor:
    """One box in the middle of each image, of class 0 [B, 1, 6]: something to measure steps on."""
    box = torch.tensor([size / 4, size / 4, 3 * size / 4, 3 * size / 4, 0, 0], device=device)
    return box.expand(count, 1, 6)


def candidates(outputs: Outputs, size: int) -> tuple[Tensor, Tensor]:
    """The boxes of all points, overlapping ones too: corners [B, A, 4] in pixels, and scores [B, A, classes], 0..1.

    A score is the root of the product of its class's probability and the centreness (Tian et al. 2020, arXiv
    2006.09214).

    Args:
        outputs: of a batch, in float32.
        size: pixels of the images a side.
    """
    assert outputs.logits is not None
    assert outputs.boxes is not None
    x, y, stride = outputs.boxes.points.unbind(-1)
    left, top, right, bottom = (outputs.boxes.distances * stride[:, None]).unbind(-1)
    corners = torch.stack([x - left, y - top, x + right, y + bottom], -1).clamp(0, size)
    return corners, (outputs.logits.sigmoid() * outputs.boxes.centerness.sigmoid().unsqueeze(-1)).sqrt()


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
    rows[:, MOST_DETECTED:, 6] = torch.where(there, OBJECT + boxes[..., 5], NOTHING)
    return rows
