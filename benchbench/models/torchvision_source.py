"""Backbones of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn

from benchbench.errors import BenchBenchError, UnknownNameError, did_you_mean, one_line
from benchbench.models.backbone import Trunk
from benchbench.models.weights import Weights, download_error

# Of the images that all of torchvision's classification weights were trained on.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Classifiers in the middle of an Inception network, which are dropped here: weights of a trained one have none.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def build(name: str, weights: Weights | None, /, **params: Any) -> Trunk:
    """A torchvision classification model without its classifier.

    Args:
        name: as `torchvision.models.get_model` takes it.
        weights: None for random ones; tags are torchvision's (IMAGENET1K_V1, ...).
        params: further arguments of the model's constructor.

    Raises:
        UnknownNameError: torchvision has no such classification model.
        WeightsError: the weights cannot be had or do not fit.
        BenchBenchError: the params do not fit, or the classifier is not linear.
    """
    tag = _weights_tag(name, weights)
    shapes_only = weights is not None and weights.shapes_only
    if name in ("googlenet", "inception_v3"):
        # Their weights come with auxiliary classifiers, and were trained on images in -1..1 (as all networks are here,
        # so that one rebuilt without them sees the same).
        pretrained = weights is not None
        params = {"aux_logits": pretrained, "transform_input": True, "init_weights": not pretrained, **params}
    if tag is not None:
        params = {**_of_weights(name, tag, params), **params}
    module = _create(name, None if shapes_only else tag, params)
    label, classifier = _classifier(module)
    head = classifier if tag is not None else None
    if weights is not None and tag is None:
        head = weights.load_into(module, label, AUXILIARY)
    _remove_classifier(module, label)
    return Trunk(
        module,
        classifier.in_channels if isinstance(classifier, nn.Conv2d) else classifier.in_features,
        MEAN,
        STD,
        input_size=_input_size(module, params),
        with_features=_Features(module),
        head=head if isinstance(head, nn.Linear) else None,
        licence=_meta(name, tag).get("license") if tag is not None else None,
    )


def _weights_tag(name: str, weights: Weights | None) -> str | None:
    """torchvision's tag of the weights; None for those that do not come from torchvision."""
    if not name:
        raise UnknownNameError("a model needs a name: write torchvision/NAME, as in torchvision/resnet18")
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise UnknownNameError(f"unknown torchvision model '{name}'; {did_you_mean(name, names)}")
    if weights is None or weights.pretrained is None:
        return None
    tags = torchvision.models.get_model_weights(name).__members__
    tag = weights.pretrained.upper() if weights.pretrained != "default" else "DEFAULT"
    if tag not in tags:
        raise UnknownNameError(f"torchvision/{name} has no weights '{tag}'; {did_you_mean(tag, tags)}")
    return tag


def _meta(name: str, tag: str) -> Mapping[str, Any]:
    """torchvision's description of weights."""
    meta: Mapping[str, Any] = torchvision.models.get_model_weights(name)[tag].meta
    return meta


def _of_weights(name: str, tag: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that torchvision takes from the weights themselves, so that it builds the same without them.

    Raises:
        BenchBenchError: the params say something else, as torchvision itself would find when it loads them.
    """
    if not name.startswith("vit_"):
        return {}
    size = _meta(name, tag)["min_size"][0]
    if (given := params.get("image_size", size)) != size:
        raise BenchBenchError(f"torchvision/{name} does not take image_size {given} with weights of {size} px")
    return {"image_size": size}


def _input_size(module: nn.Module, params: Mapping[str, Any]) -> int | None:
    """The only size of images that a network takes; None where it takes any."""
    if isinstance(module, torchvision.models.MaxVit):  # which does not keep it
        height, width = params.get("input_size", (224, 224))
        return height if height == width else None
    return getattr(module, "image_size", None)


def _create(name: str, tag: str | None, params: Mapping[str, Any]) -> nn.Module:
    try:
        return torchvision.models.get_model(name, weights=tag, **params)
    except (AssertionError, TypeError, ValueError) as error:
        raise BenchBenchError(f"torchvision/{name} does not take these params: {one_line(error)}") from None
    except (OSError, RuntimeError) as error:
        raise (download_error(f"torchvision/{name}", error) if tag else error) from error


def _classifier(module: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The last linear layer, with its name; SqueezeNet classifies by a convolution and pools afterwards."""
    last = nn.Conv2d if isinstance(module, torchvision.models.SqueezeNet) else nn.Linear
    return [(label, part) for label, part in module.named_modules() if isinstance(part, last)][-1]


def _remove_classifier(module: Any, label: str) -> None:
    """Leaves a module that gives embeddings."""
    if hasattr(module, "aux_logits"):
        # In training mode they would add logits that no loss here takes.
        module.aux_logits, module.aux1, module.aux2, module.AuxLogits = False, None, None, None
    if isinstance(module, torchvision.models.SqueezeNet):
        module.classifier = nn.AdaptiveAvgPool2d(1)
    else:
        module.set_submodule(label, nn.Identity())


class _Features:
    """Embedding and the maps between stages, caught by hooks on the network's blocks.

    Blocks are the children of its sequences, or of an Inception network itself. Of each run of blocks whose maps have
    one size the last one's is kept, which is where a stage ends. A plain transformer has one size throughout: every
    block's tokens [B, 1 + h * w, C] become a map, without the class token. Swin's maps come channels last, and are
    turned.
    """

    def __init__(self, module: nn.Module):
        self.module, self.maps = module, _Maps(isinstance(module, torchvision.models.SwinTransformer))
        names = dict(module.named_modules())
        blocks = [
            child
            for name, part in names.items()
            if isinstance(part, nn.Sequential | nn.ModuleList) and name.count(".") <= 1
            for child in part.children()
        ]
        if isinstance(module, torchvision.models.GoogLeNet | torchvision.models.Inception3):
            blocks = list(module.children())
        for block in blocks:
            block.register_forward_hook(self.maps.keep)

    def __call__(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps: list[Tensor] = []
        self.maps.kept = maps
        try:
            return self.module(images), maps
        finally:
            self.maps.kept = None


class _Maps:
    """The maps of a network's pass. Its hooks stay: torch.compile would stop where they come and go.

    It does not hold the network, which holds it: they would be a circle, and the memory of a network that nobody uses
    would have to wait for the garbage collector.

    Attributes:
        channels_last: whether blocks other than convolutions give them so.
        kept: those of the pass at hand; None where nobody asks for them.
    """

    def __init__(self, channels_last: bool):
        self.channels_last = channels_last
        self.kept: list[Tensor] | None = None

    def keep(self, block: nn.Module, _inputs: Any, output: Any) -> None:
        """Takes a block's output, in place of one of the same size before it."""
        maps = self.kept
        if maps is None:
            return
        shaped = _as_map(output, self.channels_last and not isinstance(block, nn.Conv2d))
        if shaped is None:
            return
        if maps and output.ndim == 4 and maps[-1].shape[-2:] == shaped.shape[-2:]:
            maps.pop()
        maps.append(shaped)


def _as_map(output: Any, channels_last: bool) -> Tensor | None:
    if not isinstance(output, Tensor):
        return None
    if output.ndim == 3:
        tokens = output[:, 1:]
        side = round(tokens.shape[1] ** 0.5)
        return tokens.transpose(1, 2).unflatten(2, (side, side)) if side * side == tokens.shape[1] and side else None
    if output.ndim != 4:
        return None
    output = output.permute(0, 3, 1, 2) if channels_last else output
    return output if output.shape[-1] > 1 else None
