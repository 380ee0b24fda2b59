"""A head that merges maps of all sizes, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.segmentation import MapShape, read_maps


class FPN(nn.Module):
    """Feature pyramid: a 1x1 convolution of each map, sums from coarse to fine, one 3x3 convolution, a classifier.

    m_k = L_k(x_k) + up(m_k+1), and logits = W relu(V m_1), with up the bilinear enlargement to the size of the finer
    map. Logits have the size of the finest map that is read.

    Source: Lin et al. 2017, "Feature Pyramid Networks for Object Detection" (arXiv 1612.03144), section 3, of which
    the finest level alone is classified. There is no batch normalisation, so that a head on a frozen trunk has no
    statistics of its own.
    """

    def __init__(self, maps: Sequence[MapShape], classes: int, width: int):
        """
        Args:
            maps: shapes of the backbone's maps, shallow to deep.
            classes: of pixels.
            width: channels of the merged maps.
        """
        super().__init__()
        self.places = read_maps(maps)
        self.laterals = nn.ModuleList(nn.Conv2d(maps[place].channels, width, 1) for place in self.places)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C, h, w] of the backbone -> logits [B, classes, h, w]."""
        merged: Tensor | None = None
        for place, lateral in reversed(list(zip(self.places, self.laterals, strict=True))):
            level: Tensor = lateral(maps[place])
            if merged is not None:
                level = level + F.interpolate(merged, level.shape[-2:], mode="bilinear", align_corners=False)
            merged = level
        logits: Tensor = self.classifier(F.relu(self.smooth(merged)))
        return logits
