"""A head of segmentations for BenchBench: the deepest map, enlarged, beside the finest one."""

from pydantic import Field

from benchbench import Component, Params, hookimpl


class HeadParams(Params):
    width: int = Field(32, ge=1, description="channels of the merged maps")


@hookimpl
def benchbench_heads():
    yield Component("template", f"{__name__}:build", HeadParams, "the finest and the deepest map")


def build(maps, classes, *, width):
    """A module that takes the backbone's maps, [B, C, h, w] each, and gives logits [B, classes, h, w] of any size.

    Args:
        maps: shapes of the maps, shallow to deep: `channels`, and `stride`, the pixels of the image for each of theirs.
        classes: of pixels.
        width: see `HeadParams`.
    """
    import torch  # here, so that listing plugins never imports torch
    from torch import nn

    from benchbench.models.segmentation import read_maps

    places = read_maps(maps)  # the last map of each stride, from 4 on where there are two such
    fine, deep = places[0], places[-1]

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine = nn.Conv2d(maps[fine].channels, width, 1)
            self.deep = nn.Conv2d(maps[deep].channels, width, 1)
            self.classifier = nn.Conv2d(2 * width, classes, 3, padding=1)

        def forward(self, features):
            first, last = self.fine(features[fine]), self.deep(features[deep])
            last = nn.functional.interpolate(last, first.shape[-2:], mode="bilinear", align_corners=False)
            return self.classifier(nn.functional.relu(torch.cat([first, last], 1)))

    return Head()
