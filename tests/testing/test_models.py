"""The checks of model sources tell a broken network what to change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.components import Params
from benchbench.errors import BenchBenchError, UnknownNameError, WeightsError
from benchbench.models.backbone import Trunk
from benchbench.testing import check_component
from benchbench.testing.models import CHECKS, ModelCase

HALF = (0.5, 0.5, 0.5)


class Net(nn.Module):
    """A small CNN of 4 channels; what a test breaks is a method of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 4, 1)

    def map(self, images: Tensor) -> Tensor:
        return self.stem(images).relu()

    def forward(self, images: Tensor) -> Tensor:
        return self.map(images).mean(dim=(2, 3))

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self(images), [self.map(images)]

    def with_token(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        return self(images) - 1, self(images) + 1, [self.map(images)]


class Unpooled(Net):
    def forward(self, images):
        return self.map(images)


class BatchMean(Net):
    def forward(self, images):
        return super().forward(images - images.mean(dim=0) / 2)


class Drops(Net):
    def forward(self, images):
        return F.dropout(super().forward(images))


class Unseeded(Net):
    def __init__(self):
        super().__init__()
        random = torch.Generator()
        random.seed()
        self.stem.weight.data.normal_(generator=random if self.stem.weight.device.type == "cpu" else None)


class OneSize(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4 * 24 * 24, 4)

    def forward(self, images):
        return self.fc(self.map(images).flatten(1))


class Detached(Net):
    def forward(self, images):
        return super().forward(images).detach()


class ChannelsLast(Net):
    def with_features(self, images):
        return self(images), [self.map(images).permute(0, 2, 3, 1)]


class OtherEmbedding(Net):
    def with_features(self, images):
        return self(images) + 1, [self.map(images)]


class DeepToShallow(Net):
    def with_features(self, images):
        small = self.map(images)
        return self(images), [small, F.interpolate(small, scale_factor=2)]


class TwoMaps(Net):
    """It runs from its first map on."""

    def forward(self, images):
        return self.with_features(images)[0]

    def with_features(self, images):
        first = self.map(images)
        embedding, maps = self.rest(0, first)
        return embedding, [first, *maps]

    def rest(self, index, value):
        second = F.avg_pool2d(value, 2)
        return second.mean(dim=(2, 3)), [second]


class OtherRest(TwoMaps):
    def with_features(self, images):
        embedding, maps = super().with_features(images)
        return embedding, [maps[0], maps[1] + 1]


class ChangesItsMap(TwoMaps):
    def rest(self, index, value):
        embedding, maps = super().rest(index, value)
        value.mul_(2)
        return embedding, maps


class OneToken(Net):
    def with_token(self, images):
        return self(images) + 1, self(images) + 1, []


LAYERS = []


class ReadsGlobals(TwoMaps):
    """Its functions run the layers that were built last."""

    def __init__(self):
        super().__init__()
        LAYERS[:] = [self.stem]

    @staticmethod
    def features_of_last(images):
        first = LAYERS[0](images).relu()
        second = F.avg_pool2d(first, 2)
        return second.mean(dim=(2, 3)), [first, second]

    @staticmethod
    def rest_of_last(index, value):
        second = F.avg_pool2d(value, 2) + LAYERS[0].bias.view(-1, 1, 1)
        return second.mean(dim=(2, 3)), [second]

    @staticmethod
    def token_of_last(images):
        embedding, maps = ReadsGlobals.features_of_last(images)
        return embedding - 1, embedding + 1, maps


class Uncopied(Net):
    def __deepcopy__(self, memo):
        raise TypeError("no copies")


class Unregistered(Net):
    def __init__(self):
        super().__init__()
        self.scale = torch.randn(4)

    def forward(self, images):
        return super().forward(images) * self.scale


class Shared(Net):
    def __init__(self):
        super().__init__()
        self.again = self.stem.weight


class ReadsValues(Net):
    def forward(self, images):
        return super().forward(images) * float(images.mean())


def closure_over(name: str):
    """A field of a trunk that closes over the module, as plugins may have it."""
    return lambda module: lambda *given: getattr(module, name)(*given)


def source(net: type[Net] = Net, load: bool = True, give=Trunk, **fields):
    def build(name, weights, /, **params):
        if weights is not None and load:
            raise WeightsError("no weights")
        module = net()
        trunk = {"dim": 4, "mean": HALF, "std": HALF, "with_features": module.with_features}
        return give(
            module, **trunk | {key: value(module) if callable(value) else value for key, value in fields.items()}
        )

    return build


def fails_on_weights(name, weights, /):
    return source()(name, None) if weights is None else open(weights.file)


BROKEN = [
    ("trunk", source(give=lambda module, **_: module), "it gives a Net: give a benchbench.models.backbone.Trunk"),
    ("trunk", source(dim=None), "dim is None: give the embedding's width"),
    ("trunk", source(mean=(0.5,)), "mean is .*: give three numbers"),
    ("trunk", source(mean=(123.7, 116.3, 103.5)), "images are in 0..1, so divide by 255"),
    ("trunk", source(std=(0.5, 0.5, 0.0)), "images are divided by it"),
    ("trunk", source(input_size=(32, 32)), "input_size is .*: give pixels, or None for any"),
    ("embedding", source(Unpooled), r"has shape \[4, 4, 24, 24\], not \[4, 4\]: pool the last map"),
    ("embedding", source(dim=8), r"not \[4, 8\]: pool the last map, and say its width in dim"),
    ("single", source(BatchMean), "use running statistics in eval mode"),
    ("determinism", source(Drops), "draw in training mode alone"),
    ("determinism", source(Unseeded), "the same seed gives other weights"),
    ("sizes", source(OneSize), "it fails on images of 97 px .*: set the trunk's input_size"),
    ("gradients", source(Detached), "no gradient reaches its parameters"),
    ("features", source(ChannelsLast), r"map 0 of square images has shape \[4, 24, 24, 4\]: give channels first"),
    ("features", source(OtherEmbedding), "with_features gives another embedding"),
    ("features", source(DeepToShallow), r"maps have sides \[24, 48\]: give them shallow to deep"),
    ("features", source(OtherRest, rest=lambda module: module.rest), "rest gives other maps or another embedding"),
    ("features", source(ChangesItsMap, rest=lambda module: module.rest), "rest changes map 0, which it is given"),
    ("token", source(OneToken, with_token=lambda module: module.with_token), "not the mean of its two tokens'"),
    ("copies", source(Uncopied), r"copy\.deepcopy cannot copy it \(TypeError: no copies\)"),
    (
        "copies",
        source(ReadsGlobals, with_features=lambda module: module.features_of_last),
        "with_features of a deep copy runs the layers of the original: write it as a method of the module",
    ),
    ("copies", source(ReadsGlobals, rest=lambda module: module.rest_of_last), "^rest of a deep copy runs the layers"),
    (
        "copies",
        source(ReadsGlobals, with_token=lambda module: module.token_of_last),
        "with_token of a deep copy runs the layers",
    ),
    ("state", source(Unregistered), "keep weights in parameters and buffers"),
    ("state", source(Shared), "its weights cannot be saved and loaded"),
    ("meta", source(ReadsValues), "does not run on the meta device .*: make its tensors parameters and buffers"),
    ("weights", source(load=False), r"it ignores `weights`: call weights\.load_into"),
    ("weights", fails_on_weights, "weights that do not exist raise FileNotFoundError.*: raise WeightsError"),
]


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_source_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](ModelCase(component(target)))


def test_every_check_has_a_source_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


@pytest.mark.parametrize(
    ("net", "fields"),
    [
        (Net, {}),
        (Net, {"input_size": 48}),
        (Net, {"with_features": None}),
        (Net, {"with_token": lambda module: module.with_token}),
        (TwoMaps, {"rest": lambda module: module.rest}),
        (TwoMaps, {name: closure_over(name) for name in ("with_features", "rest")}),
    ],
)
def test_a_good_source_breaks_none(component, net, fields):
    case = ModelCase(component(source(net, **fields)))
    remarks = {name: check(case) for name, check in CHECKS.items()}
    assert ("no maps" in (remarks["features"] or "")) == (fields.get("with_features", 1) is None)


def test_the_network_and_its_parameters_are_those_that_are_asked_for(component):
    class WidthParams(Params):
        width: int = 4

    def build(name, weights, /, *, width):
        if name != "one":
            raise UnknownNameError(f"unknown network '{name}'")
        return source(dim=width)(name, weights)

    made = component(build, params=WidthParams)
    with pytest.raises(
        BenchBenchError, match="student/mine: unknown network ''; name one of its networks with --model"
    ):
        check_component("student", made)
    with pytest.raises(BenchBenchError, match=r"student/mine: unknown network 'two'$"):
        check_component("student", made, model="two")
    failed = {f.check for f in check_component("student", made, model="one") if f.status == "failed"}
    assert failed == {"loads"}  # a made-up module has no source
    failed = {
        f.check for f in check_component("student", made, model="one", params={"width": 5}) if f.status == "failed"
    }
    assert "embedding" in failed
