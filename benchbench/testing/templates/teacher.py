"""A teacher for BenchBench: a plain CNN of three stages."""

from pydantic import Field

from benchbench import Component, Params, hookimpl


class ModelParams(Params):
    width: int = Field(16, ge=1, description="channels of the first stage")


@hookimpl
def benchbench_teachers():
    yield Component("template", f"{__name__}:build", ModelParams, "a plain CNN of three stages")


def build(name, weights, /, *, width):
    """A network without its classifier; a suite asks for it by `model: template`.

    Args:
        name: the text after the slash, for sources of many networks; empty here.
        weights: the suite's `weights:`, or None for random ones.
        width: channels of the first stage; each further stage doubles them.
    """
    from torch import nn  # here, so that listing plugins never imports torch

    from benchbench.errors import UnknownNameError, WeightsError
    from benchbench.models.backbone import Trunk

    if name:
        raise UnknownNameError(f"template is one network: leave out '/{name}'")

    def stage(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())

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
        raise WeightsError("template has no weights of its own; write `weights: {file: PATH}`")
    if weights is not None:
        weights.load_into(module, classifier="head")
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return Trunk(module, dim=4 * width, mean=mean, std=std, with_features=module.with_features)
