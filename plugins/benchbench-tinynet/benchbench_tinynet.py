"""A plain CNN of three depths, the example of a model source: each network is there as teacher and as student."""

from pydantic import Field

from benchbench import Component, Params, hookimpl

BLOCKS = {"small": 1, "medium": 2, "large": 4}  # in each of the three stages


class TinyNetParams(Params):
    width: int = Field(32, ge=1, description="channels of the first stage; each further stage doubles them")


def source():
    yield Component("tinynet", f"{__name__}:build", TinyNetParams, "a plain CNN: tinynet/small, medium or large")


@hookimpl
def benchbench_teachers():
    return source()


@hookimpl
def benchbench_students():
    return source()


def build(name, weights, /, *, width):
    """The network `tinynet/NAME` without its classifier; `weights` is None for random ones."""
    from torch import nn  # here, so that listing plugins never imports torch

    from benchbench.errors import UnknownNameError, WeightsError, did_you_mean
    from benchbench.models.backbone import Trunk

    if name not in BLOCKS:
        raise UnknownNameError(f"unknown network 'tinynet/{name}'; {did_you_mean(name, BLOCKS)}")

    def block(inputs, outputs, stride):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

    def stage(inputs, outputs):
        first = block(inputs, outputs, stride=2)
        return nn.Sequential(first, *(block(outputs, outputs, stride=1) for _ in range(BLOCKS[name] - 1)))

    class Network(nn.Sequential):
        def with_features(self, images):
            """The embedding and the maps; a method, so that a copy of the network runs its own layers."""
            stages, pool, flatten = self
            maps = []
            for part in stages.children():
                images = part(images)
                maps.append(images)
            return flatten(pool(images)), maps

    stages = nn.Sequential(stage(3, width), stage(width, 2 * width), stage(2 * width, 4 * width))
    module = Network(stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if weights is not None and weights.pretrained is not None:
        raise WeightsError("tinynet has no weights of its own; write `weights: {file: PATH}`")
    if weights is not None:
        weights.load_into(module, classifier="head")
    return Trunk(module, dim=4 * width, mean=(0.5,) * 3, std=(0.25,) * 3, with_features=module.with_features)
