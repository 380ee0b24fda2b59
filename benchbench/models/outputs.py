"""Outputs of every model, whatever library it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass
class BoxOutputs:
    """A detection's boxes at A points of the image, beside the logits of their classes.

    Attributes:
        distances: from each point to the left, top, right and bottom of its box [B, A, 4], in strides.
        centerness: logits of how central the point is in its box [B, A].
        points: x, y and stride of each [A, 3], float32, in pixels of the image: levels of the pyramid in turn, fine to
            coarse, each row by row.
        levels: number of points of each level.
    """

    distances: Tensor
    centerness: Tensor
    points: Tensor
    levels: tuple[int, ...]


@dataclass
class Outputs:
    """One forward pass of a teacher or a student on a batch of B images.

    Attributes:
        logits: task logits [B, classes], of a segmentation [B, classes, h, w]: a class for each part of the image,
            of a detection [B, A, classes], of which each goes through a sigmoid; None where the model has no task head
            (a teacher as it was pre-trained).
        embedding: the backbone's pooled penultimate output [B, D].
        features: the maps between stages, shallow to deep, [B, C, H, W] each, tokens of a transformer as maps; the last
            is what the embedding is pooled from, where the network has such a map. Empty unless a loss asks for them.
        token_logits: of the head on the distillation token [B, classes]; None unless a loss asks for it and the
            network has such a token.
        boxes: of a detection; else None.
        second_view: those of a second view of the same images; None unless a loss asks for it.
    """

    logits: Tensor | None
    embedding: Tensor
    features: list[Tensor] = field(default_factory=list)
    token_logits: Tensor | None = None
    boxes: BoxOutputs | None = None
    second_view: Outputs | None = None

    def tensors(self) -> list[Tensor]:
        """All of an image's values, each with the images first."""
        boxes = (self.boxes.distances, self.boxes.centerness) if self.boxes else ()
        every = (self.logits, self.embedding, *self.features, self.token_logits, *boxes)
        second = self.second_view.tensors() if self.second_view else []
        return [each for each in every if each is not None] + second

    def each(self, function: Callable[[Tensor], Tensor]) -> Outputs:
        """The outputs with a function applied to each tensor."""
        logits, token = (None if value is None else function(value) for value in (self.logits, self.token_logits))
        boxes = self.boxes
        if boxes is not None:
            boxes = replace(boxes, distances=function(boxes.distances), centerness=function(boxes.centerness))
        second, maps = self.second_view, [function(value) for value in self.features]
        view = None if second is None else second.each(function)
        return Outputs(logits, function(self.embedding), maps, token, boxes, view)

    def part(self, chosen: Tensor | slice) -> Outputs:
        """The outputs of the images at some indices [K], or of every so many."""
        return self.each(lambda value: value[chosen])
