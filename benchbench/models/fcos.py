"""The head of a detection without anchors: torchvision's FCOS on a feature pyramid of a backbone's maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import fcos
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from benchbench.errors import StageError
from benchbench.models.detection import CANDIDATES, LEAST_SCORE, MOST_DETECTED, OVERLAP, DetectionHead
from benchbench.models.outputs import BoxOutputs, Outputs
from benchbench.models.segmentation import MapShape

SURE = -1e4


class FCOS(DetectionHead):
    """Fully convolutional one-stage detector: a class, four distances and a centreness at every point of a pyramid.

    Focal loss of the classes, GIoU loss of the boxes and cross-entropy of the centreness, each divided by the number of
    points that an object is assigned to: points in the middle of it, at the level that suits its size. A box's score is
    the root of the product of its class's probability and its centreness.

    Source: Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection" (arXiv 1904.01355) and Tian et al.
    2020 (arXiv 2006.09214), in torchvision's implementation. Points lie in the middle of their cells, as in the paper.
    Points in boxes to be ignored are neither objects nor background. Distances begin at about one stride, where
    torchvision's begin at 0: behind a ReLU, a side of all boxes might never leave that again.
    """

    def __init__(
        self, maps: Sequence[MapShape], classes: int, *, width: int, convolutions: int, finest: int, extra_levels: bool
    ):
        """
        Args:
            maps: shapes of the backbone's maps, shallow to deep.
            classes: of boxes.
            width: channels of the pyramid.
            convolutions: of each of the two branches, before the last one.
            finest: stride of the finest level; finer maps are not read.
            extra_levels: two levels more, of half and a quarter of the points of the coarsest map.

        Raises:
            StageError: no map is as coarse as that.
        """
        super().__init__()
        last = {shape.stride: place for place, shape in enumerate(maps) if shape.stride >= finest}
        if not last:
            raise StageError(
                f"fcos reads maps of stride {finest} and more, and the network's coarsest has "
                f"{max(shape.stride for shape in maps)}; give `head: {{fcos: {{finest: ...}}}}`"
            )
        self.places = [last[stride] for stride in sorted(last)]
        strides = sorted(last)
        self.strides = [*strides, *([2 * strides[-1], 4 * strides[-1]] if extra_levels else [])]
        channels = [maps[place].channels for place in self.places]
        self.pyramid = FeaturePyramidNetwork(channels, width, LastLevelP6P7(width, width) if extra_levels else None)
        # It wants a backbone, whose place the pyramid takes: its parts are called one by one.
        stand_in = nn.Identity()
        stand_in.out_channels = width  # type: ignore[assignment]
        self.detector = fcos.FCOS(
            stand_in,
            classes,
            head=fcos.FCOSHead(width, 1, classes, convolutions),
            score_thresh=LEAST_SCORE,
            nms_thresh=OVERLAP,
            topk_candidates=CANDIDATES,
            detections_per_img=MOST_DETECTED,
        )
        nn.init.ones_(self.detector.head.regression_head.bbox_reg.bias)

    @property
    def classifier(self) -> nn.Module:
        """The layer that classifies."""
        return self.detector.head.classification_head.cls_logits

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, BoxOutputs]:
        levels = list(self.pyramid({str(place): maps[place] for place in self.places}).values())
        found = self.detector.head(levels)
        points = [_points(level, stride) for level, stride in zip(levels, self.strides, strict=True)]
        counts = tuple(len(each) for each in points)
        boxes = BoxOutputs(found["bbox_regression"], found["bbox_ctrness"].squeeze(-1), torch.cat(points), counts)
        return found["cls_logits"], boxes

    def loss(self, outputs: Outputs, boxes: Tensor) -> dict[str, Tensor]:
        assert outputs.boxes is not None
        targets = []
        for image in boxes:
            own = image[(image[:, 4] >= 0) & (image[:, 5] == 0)]
            targets.append({"boxes": own[:, :4], "labels": own[:, 4].long()})
        anchors = [_anchors(outputs.boxes.points)] * len(boxes)
        named = _named(outputs)
        # Logits that are sure that nothing is there have neither a loss nor a gradient.
        named["cls_logits"] = named["cls_logits"].masked_fill(_ignored(outputs.boxes.points, boxes)[..., None], SURE)
        terms = self.detector.compute_loss(targets, named, anchors, list(outputs.boxes.levels))
        names = {"classification": "classes", "bbox_regression": "boxes", "bbox_ctrness": "centerness"}
        return {names[name]: value for name, value in terms.items()}

    def detections(self, outputs: Outputs, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        assert outputs.boxes is not None
        levels = outputs.boxes.levels
        named = {name: list(value.split(levels, 1)) for name, value in _named(outputs).items()}
        count = len(outputs.embedding)
        anchors = [list(_anchors(outputs.boxes.points).split(levels))] * count
        found = self.detector.postprocess_detections(named, anchors, [(size, size)] * count)
        return [(each["boxes"], each["scores"], each["labels"]) for each in found]


def _named(outputs: Outputs) -> dict[str, Tensor]:
    """Outputs as torchvision names them."""
    assert outputs.boxes is not None
    assert outputs.logits is not None
    centerness = outputs.boxes.centerness.unsqueeze(-1)
    return {"cls_logits": outputs.logits, "bbox_regression": outputs.boxes.distances, "bbox_ctrness": centerness}


def _points(level: Tensor, stride: int) -> Tensor:
    """The middle of every cell of a level [B, C, h, w], and its stride: [h w, 3], row by row."""
    rows, columns = (stride * (torch.arange(side, device=level.device) + 0.5) for side in level.shape[-2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, stride)], -1).flatten(0, 1)


def _ignored(points: Tensor, boxes: Tensor) -> Tensor:
    """Points [A, 3] in boxes to be ignored [B, M, 6], and in none of the others: [B, A], bool."""
    x, y = points[:, :1], points[:, 1:2]
    ignored = (boxes[..., 4] >= 0) & (boxes[..., 5] > 0)
    if not bool(ignored.any()):
        return ignored.new_zeros(()).expand(len(boxes), len(points))
    left, top, right, bottom = (each.unsqueeze(1) for each in boxes[..., :4].unbind(-1))
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    counted = (boxes[..., 4] >= 0) & ~ignored
    return (inside & ignored.unsqueeze(1)).any(2) & ~(inside & counted.unsqueeze(1)).any(2)


def _anchors(points: Tensor) -> Tensor:
    """Squares around points [A, 3], as wide as their strides: [A, 4]; torchvision's losses take points as such."""
    x, y, stride = points.unbind(-1)
    return torch.stack([x - stride / 2, y - stride / 2, x + stride / 2, y + stride / 2], -1)
