"""Backbones of timm."""

from __future__ import annotations

from typing import Any

import timm
from timm.models import is_model
from torch import Tensor, nn

from benchbench.errors import BenchBenchError, UnknownNameError, did_you_mean, one_line
from benchbench.models.backbone import Trunk
from benchbench.models.weights import Weights, download_error


def build(name: str, weights: Weights | None, **params: Any) -> Trunk:
    """A timm model without its classifier.

    Args:
        name: as `timm.create_model` takes it; a tag after a dot names its weights.
        weights: None for random ones.
        params: further arguments of `timm.create_model`.

    Raises:
        UnknownNameError: timm has no such model.
        WeightsError: the weights cannot be had or do not fit.
    """
    architecture = name.partition(".")[0]
    if not is_model(architecture):
        raise UnknownNameError(f"unknown timm model '{name}'; {did_you_mean(architecture, timm.list_models())}")
    pretrained = weights is not None and weights.pretrained is not None
    if weights is not None and weights.pretrained not in (None, "default"):
        name = f"{architecture}.{weights.pretrained}"
    try:
        module: Any = timm.create_model(name, pretrained=pretrained, **params)
    except TypeError as error:
        raise BenchBenchError(f"timm/{name} does not take these params: {one_line(error)}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise (download_error(f"timm/{name}", error) if pretrained else error) from error
    config = module.pretrained_cfg
    if weights is not None and not pretrained:
        classifier = config["classifier"]
        weights.load_into(module, classifier if isinstance(classifier, str) else classifier[0])
    module.reset_classifier(0)
    return Trunk(
        module,
        dim=getattr(module, "head_hidden_size", None) or module.num_features,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        input_size=config["input_size"][-1] if config.get("fixed_input_size") and "img_size" not in params else None,
        with_features=_Features(module) if hasattr(module, "forward_intermediates") else None,
    )


class _Features:
    """Embedding and the maps between stages, by timm's own `forward_intermediates`."""

    def __init__(self, module: nn.Module):
        self.module: Any = module

    def __call__(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        final, maps = self.module.forward_intermediates(images, output_fmt="NCHW")
        return self.module.forward_head(final, pre_logits=True), maps
