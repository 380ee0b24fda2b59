"""The checks of heads tell a broken one what to change."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.models.fcos import FCOS
from benchbench.plugins import load_plugins
from benchbench.testing import check_component, checks_of
from benchbench.testing.heads import BOX_CHECKS, CHECKS, HeadCase


class Last(nn.Module):
    """A 1x1 convolution of the last map; what a test breaks is a method of its own."""

    def __init__(self, maps, classes):
        super().__init__()
        self.classifier = nn.Conv2d(maps[-1].channels, classes, 1)

    def forward(self, maps):
        return self.classifier(maps[-1])


class Pooled(Last):
    def forward(self, maps):
        return super().forward(maps).mean((2, 3))


class Choosy(Last):
    def __init__(self, maps, classes):
        raise StageError("this head works on no network")


class Detached(Last):
    def forward(self, maps):
        return super().forward([each.detach() for each in maps])


class BatchMean(Last):
    def forward(self, maps):
        return super().forward(maps) - maps[-1].mean()


class Unseeded(Last):
    def __init__(self, maps, classes):
        super().__init__(maps, classes)
        random = torch.Generator()
        random.seed()
        self.classifier.weight.data.normal_(generator=random)


class Fixed(Last):
    def __init__(self, maps, classes):
        super().__init__(maps, classes)
        self.classifier.weight.data.fill_(float("nan"))


BROKEN = [
    ("shape", Pooled, r"for maps of strides 2, 4, 8, 16, 32 it gives \[2, 3\]: give \[B, classes, h, w\]"),
    ("shape", Fixed, "its logits are not finite with fresh weights"),
    ("shape", lambda maps, classes: "head", "it gives a str: give a torch.nn.Module"),
    ("shape", Choosy, "it refuses the maps of every network: .'this head works on no network'"),
    ("single", BatchMean, "depend on the rest of its batch"),
    ("determinism", Unseeded, "the same seed gives other logits"),
    ("gradients", Detached, "no gradient reaches the backbone"),
]


class Boxes(FCOS):
    """A head of detections; what a test breaks is a method of its own."""

    def __init__(self, maps, classes):
        super().__init__(maps, classes, width=32, convolutions=0, finest=8, extra_levels=False)


class OnePoint(Boxes):
    def forward(self, maps):
        logits, boxes = super().forward(maps)
        return logits[:, :1], boxes


class Far(Boxes):
    def forward(self, maps):
        logits, boxes = super().forward(maps)
        boxes.points = boxes.points * 10
        return logits, boxes


class MeanOfObjects(Boxes):
    def loss(self, outputs, boxes):
        return {"boxes": outputs.boxes.distances.mean() / (boxes[..., 4] >= 0).sum()}


class Summed(Boxes):
    def loss(self, outputs, boxes):
        return sum(super().loss(outputs, boxes).values())


class Outside(Boxes):
    def detections(self, outputs, size):
        return [(corners + size, *rest) for corners, *rest in super().detections(outputs, size)]


class Single(Boxes):
    def detections(self, outputs, size):
        return super().detections(outputs, size)[:1]


BROKEN_BOXES = [
    ("shape", Last, r"it gives a Tensor: give \(logits \[B, A, classes\], BoxOutputs\)"),
    ("shape", OnePoint, r"strides 2, 4, 8, 16, 32 it gives logits \[2, 1, 3\]: give \[2, 84, 3\]"),
    ("shape", Far, "its points are not x, y and stride in pixels of the image"),
    ("loss", Last, "its head is a Last: give a benchbench.models.detection.DetectionHead"),
    ("loss", Summed, "its loss is a Tensor: give a dict of scalars"),
    ("loss", MeanOfObjects, "without objects the term 'boxes' of its loss is .*: give a finite scalar"),
    ("detections", Outside, "its boxes are not left, top, right and bottom within the image: clamp them"),
    ("detections", Single, "detections has 1 entries for 2 images"),
]


@pytest.mark.parametrize(
    ("check", "target", "message", "boxes"),
    [(*each, False) for each in BROKEN] + [(*each, True) for each in BROKEN_BOXES],
)
def test_a_broken_head_is_told_what_to_change(component, check, target, message, boxes):
    with pytest.raises(AssertionError, match=message):
        {**CHECKS, **BOX_CHECKS}[check](HeadCase(replace(component(target), boxes=boxes)))


def test_every_check_has_a_head_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)
    assert {check for check, _, _ in BROKEN_BOXES} == {"shape", *BOX_CHECKS}


def test_the_head_of_the_guide_breaks_none(tmp_path):
    guide = (Path(__file__).parents[2] / "docs/extend/models.md").read_text()
    path = tmp_path / "middles.py"
    path.write_text(next(code for code in re.findall(r"```python\n(.*?)```", guide, re.S) if "boxes=True" in code))
    results = [check.run() for check in checks_of(path)]
    assert {result.status for result in results} == {"ok"}, [str(result) for result in results]
    assert {*CHECKS, *BOX_CHECKS} <= {result.check for result in results}


@pytest.mark.parametrize("offer", load_plugins().registry.of_kind("head"), ids=lambda offer: offer.component.name)
def test_those_that_come_with_benchbench_break_none(offer):
    results = check_component("head", offer.component)
    assert {result.status for result in results} == {"ok"}, [str(result) for result in results]
    expected = {*CHECKS, *(BOX_CHECKS if offer.component.boxes else ())}
    assert expected < {result.check for result in results}
