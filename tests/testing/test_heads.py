"""The checks of heads tell a broken one what to change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.plugins import load_plugins
from benchbench.testing import check_component
from benchbench.testing.heads import CHECKS, HeadCase


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


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_head_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](HeadCase(component(target)))


def test_every_check_has_a_head_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


@pytest.mark.parametrize("offer", load_plugins().registry.of_kind("head"), ids=lambda offer: offer.component.name)
def test_those_that_come_with_benchbench_break_none(offer):
    results = check_component("head", offer.component)
    assert {result.status for result in results} == {"ok"}, [str(result) for result in results]
    assert {*CHECKS} < {result.check for result in results}
