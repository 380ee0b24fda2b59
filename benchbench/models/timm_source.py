"""Backbones of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import timm
from timm.models import ResNet, adapt_input_conv, is_model
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from benchbench.errors import BenchBenchError, UnknownNameError, did_you_mean, one_line
from benchbench.models.backbone import Trunk
from benchbench.models.weights import Weights, download_error

HUB = "hf-hub:"


def build(name: str, weights: Weights | None, /, **params: Any) -> Trunk:
    """A timm model without its classifier.

    Args:
        name: as `timm.create_model` takes it; a tag after a dot names its weights. `hf-hub:USER/NAME` is a model of the
            hub, and `hf-hub:USER/NAME@REVISION` one of its versions.
        weights: None for random ones.
        params: further arguments of `timm.create_model`.

    Raises:
        UnknownNameError: timm has no such model, or no such weights of it.
        WeightsError: the weights cannot be had or do not fit.
        BenchBenchError: the params do not fit, or it is no classification backbone.
    """
    full_name = _full_name(name, weights)
    pretrained = weights is not None and weights.pretrained is not None
    shapes_only = weights is not None and weights.shapes_only
    module = _create(full_name, pretrained and not shapes_only, params)
    config = module.pretrained_cfg
    classifier = module.get_classifier() if pretrained else None
    if weights is not None and not pretrained:
        channels = params.get("in_chans", 3)
        adapt = partial(_adapted, _first_weights(config), channels) if channels != 3 else None
        classifier = weights.load_into(module, config["classifier"], adapt=adapt)
    module.reset_classifier(0)
    size = params.get("img_size", config["input_size"][-1])
    return Trunk(
        module,
        dim=getattr(module, "head_hidden_size", None) or module.num_features,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        input_size=size if config.get("fixed_input_size") and isinstance(size, int) else None,
        with_features=_Features(module) if hasattr(module, "forward_intermediates") else None,
        head=classifier if isinstance(classifier, nn.Linear) else None,
        class_names=tuple(config.get("label_names") or ()) or None,
        licence=config.get("license") if pretrained else None,
        with_token=_Token(module) if isinstance(module, VisionTransformerDistilled) else None,
        rest=_ResNetRest(module) if isinstance(module, ResNet) else None,
    )


def _first_weights(config: Mapping[str, Any]) -> list[str]:
    """Names of the weights that see the image."""
    first = config.get("first_conv") or ()
    return [f"{name}.weight" for name in ((first,) if isinstance(first, str) else first)]


def _adapted(first: Sequence[str], channels: int, name: str, tensor: Tensor) -> Tensor:
    """A weight of a network for RGB in one for images of other channels, as timm adapts its own published weights."""
    return adapt_input_conv(channels, tensor) if name in first and tensor.shape[1:2] == (3,) else tensor


def _full_name(name: str, weights: Weights | None) -> str:
    """timm's name of a model, with the tag of its weights where there is one."""
    if name.startswith(HUB):
        return name
    if not name:
        raise UnknownNameError("a model needs a name: write timm/NAME, as in timm/resnet18")
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        raise UnknownNameError(f"unknown timm model '{name}'; {did_you_mean(architecture, timm.list_models())}")
    pretrained = weights.pretrained if weights is not None else None
    if pretrained not in (None, "default"):
        tag = pretrained
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if pretrained is not None and not tags:
        raise UnknownNameError(f"timm has no weights of {architecture}; write `weights: {{file: PATH}}`")
    if pretrained is not None and tag and tag not in tags:
        raise UnknownNameError(f"timm/{architecture} has no weights '{tag}'; {did_you_mean(tag, tags)}")
    return f"{architecture}.{tag}" if tag else architecture


def _create(full_name: str, pretrained: bool, params: Mapping[str, Any]) -> Any:
    """The model with its classifier, of the class that timm gives it."""
    try:
        module = timm.create_model(full_name, pretrained=pretrained, **params)
    except (AssertionError, KeyError, TypeError) as error:
        raise BenchBenchError(f"timm/{full_name} does not take these params: {one_line(error)}") from None
    except Exception as error:  # the hub's client raises its own kinds
        if pretrained or full_name.startswith(HUB):  # of which even the architecture is written there
            raise download_error(f"timm/{full_name}", error) from error
        raise BenchBenchError(f"timm/{full_name} cannot be built: {one_line(error)}") from error
    if not hasattr(module, "reset_classifier"):
        raise BenchBenchError(f"timm/{full_name} with these params is no classification backbone")
    return module


class _Features:
    """Embedding and the maps between stages, by timm's own `forward_intermediates`."""

    def __init__(self, module: nn.Module):
        self.module: Any = module

    def __call__(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        final, maps = self.module.forward_intermediates(images, output_fmt="NCHW")
        embedding = self.module.forward_head(final, pre_logits=True)
        # The map that the embedding is pooled from comes last: a last normalisation or 1x1 convolution is part of it.
        if isinstance(final, Tensor) and final.ndim == 4 and final.shape[1] == embedding.shape[1]:
            maps = [*(maps[:-1] if maps[-1].shape == final.shape else maps), final]
        return embedding, maps


class _Token:
    """Class token's embedding, distillation token's, and the maps of a distilled vision transformer."""

    def __init__(self, module: nn.Module):
        self.module: Any = module

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        final, maps = self.module.forward_intermediates(images, output_fmt="NCHW")
        return final[:, 0], final[:, 1], maps


class _ResNetRest:
    """A ResNet from one of its maps on: those of the stem and of the four layers."""

    def __init__(self, module: nn.Module):
        self.module: Any = module

    def __call__(self, index: int, value: Tensor) -> tuple[Tensor, list[Tensor]]:
        module, maps = self.module, []
        layers = (module.layer1, module.layer2, module.layer3, module.layer4)
        value = value if index else module.maxpool(value)
        for layer in layers[index:]:
            value = layer(value)
            maps.append(value)
        return module.forward_head(value, pre_logits=True), maps
