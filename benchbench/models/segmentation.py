"""A backbone with a head on its maps: a segmentation, with a class for every pixel, and what a detection shares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchbench.errors import StageError
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.outputs import Outputs

# Pixels a side of the image that tells the shapes of a network's maps, where it takes any; a second has twice as many.
PROBED = 128
NO_MAPS = "a head on maps needs those between the stages of its network, and this one gives none"


@dataclass(frozen=True)
class MapShape:
    """A map between stages: its channels, and pixels of the image for each of its own along a side."""

    channels: int
    stride: int


MakeHead = Callable[[list[MapShape], int], nn.Module]


class MapsNetwork(Backbone):
    """A trunk with a head on its maps between stages; its embedding is that of the trunk, pooled over the image."""

    def __init__(self, trunk: Trunk, classes: int, make_head: MakeHead, maps: list[MapShape] | None = None):
        """
        Args:
            trunk: of the network.
            classes: of pixels, or of boxes.
            make_head: builds a head for the trunk's maps.
            maps: their shapes, where they are known.

        Raises:
            StageError: the trunk gives no maps.
        """
        super().__init__(trunk, None)
        self.classes = classes
        self.maps = maps or self._maps()
        self.head = make_head(self.maps, classes)

    def forward(self, images: Tensor, features: bool = False) -> Outputs:
        """One forward pass; see `Backbone.forward`. Raises StageError where images are too small for some maps."""
        embedding, maps = self._features(self.normalised(images))
        if len(maps) != len(self.maps):
            given = f"images of {images.shape[-1]} px give {len(maps)} maps between the stages of the network"
            raise StageError(f"{given}, and its head was made for {len(self.maps)}; take a larger image_size")
        outputs = self.outputs_of(maps, embedding)
        return outputs if features else replace(outputs, features=[])

    @property
    def classifiers(self) -> list[nn.Module]:
        last = getattr(self.head, "classifier", None)
        return [last] if isinstance(last, nn.Module) else []

    def outputs_of(self, maps: list[Tensor], embedding: Tensor) -> Outputs:
        """The outputs of the head for the trunk's maps [B, C, h, w], with these."""
        raise NotImplementedError

    def _features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        if self._with_features is None:
            raise StageError(NO_MAPS)
        return self._with_features(images)

    def _maps(self) -> list[MapShape]:
        """Shapes of the trunk's maps."""
        size = self.input_size or PROBED
        shapes = self._probed(size)
        if not shapes:
            raise StageError(NO_MAPS)
        sides = [side for _, side in shapes]
        strides = strides_of(size, sides)
        larger = [] if self.input_size else [side for _, side in self._probed(2 * size)]
        if len(larger) == len(sides):
            pairs = zip(sides, larger, strides, strict=True)
            strides = [round(size / (twice - side)) if twice > side else stride for side, twice, stride in pairs]
        return [MapShape(channels, max(1, stride)) for (channels, _), stride in zip(shapes, strides, strict=True)]

    @torch.no_grad()
    def _probed(self, size: int) -> list[tuple[int, int]]:
        """Channels and side of the trunk's maps of one image of so many pixels."""
        training = self.training
        device = next((each.device for each in self.trunk.parameters()), self.mean.device)
        images = torch.zeros(1, self.mean.shape[1], size, size, device=device)
        maps = self.eval()._features(images)[1]
        self.train(training)
        return [(each.shape[1], each.shape[-1]) for each in maps]


def strides_of(size: int, sides: Sequence[int]) -> list[int]:
    """Strides of maps by their sides, for images of one size.

    A map's side says less than how it grows with the image's: convolutions without padding cut some of it off. From one
    map to the next it halves, once or more, or stays.

    Args:
        size: pixels of the image a side.
        sides: of the maps, shallow to deep.
    """
    strides = [max(1, round(size / sides[0]))]
    for before, side in itertools.pairwise(sides):
        strides.append(max(1, round(strides[-1] * 2.0 ** round(math.log2(before / side)))))
    return strides


class SegmentationNetwork(MapsNetwork):
    """A segmentation: logits are [B, classes, h, w], with h and w as the head gives them."""

    def outputs_of(self, maps: list[Tensor], embedding: Tensor) -> Outputs:
        assert self.head is not None
        return Outputs(self.head(maps), embedding, maps)


# Finer maps cost most of a head's time and memory, and networks for large images have coarser ones.
COARSE = 4


def read_maps(maps: Sequence[MapShape]) -> list[int]:
    """Places of the maps that a head reads: the last one of each stride, from stride 4 on where there are two such."""
    last = {shape.stride: place for place, shape in enumerate(maps)}
    coarse = [place for stride, place in last.items() if stride >= COARSE]
    return sorted(coarse if len(coarse) > 1 else last.values())
