"""Networks from their specs: a trunk of a source, with its weights and a task head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchbench.components import Registry
from benchbench.errors import WeightsError
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.class_names import ClassNameError, head_rows
from benchbench.models.detection import DetectionNetwork
from benchbench.models.segmentation import MakeHead, MapShape, MapsNetwork, SegmentationNetwork
from benchbench.models.weights import Weights
from benchbench.specs.parts import ComponentSpec, ModelSpec, Role


def build_backbone(
    model: ModelSpec, role: Role, registry: Registry, classes: int | None, published: Sequence[str] | None = None
) -> Backbone:
    """A model with its weights; random ones where its spec has none.

    Args:
        model: its spec.
        role: the kind of component that its source is looked up as.
        registry: the components at hand.
        classes: width of the task head; None for none.
        published: names of the data set's classes, where the task head is the classifier that the weights came with.

    Raises:
        WeightsError: the weights cannot be had or do not fit, or their classifier is of another task.
        UnknownNameError: the source has no such model.
        StageError: the network of a segmentation or a detection gives no maps, or none that its head can read.
    """
    weights = Weights.of(model.weights) if model.weights is not None else None
    trunk: Trunk = registry.get(role, model.source).load()(model.name, weights, **model.arguments)
    if weights is not None and weights.pypi is not None:
        trunk.licence = weights.licence
    for name in ("mean", "std"):
        setattr(trunk, name, _of_channels(getattr(trunk, name), model.channels))
    for name in ("mean", "std", "input_size"):
        if getattr(model, name) is not None:
            setattr(trunk, name, getattr(model, name))
    if model.head is not None and classes is not None:
        return _with_maps(trunk, model, role, registry, classes)
    backbone = Backbone(trunk, classes)
    if published is not None:
        backbone.head = published_head(trunk, model, published)
    return backbone


# Shapes of the maps of trunks that were built before, by what builds them: to learn them takes a forward pass.
_MAPS: dict[tuple[object, str], list[MapShape]] = {}


def _with_maps(trunk: Trunk, model: ModelSpec, role: Role, registry: Registry, classes: int) -> MapsNetwork:
    """A segmentation or a detection, as its head says."""
    assert model.head is not None
    kind = DetectionNetwork if registry.get("head", model.head.name).boxes else SegmentationNetwork
    plain = model.without_weights().model_copy(update={"head": None})
    key = registry.get(role, model.source).load(), plain.model_dump_json()
    network = kind(trunk, classes, _maker(model.head, registry), _MAPS.get(key))
    _MAPS[key] = network.maps
    return network


def _maker(head: ComponentSpec, registry: Registry) -> MakeHead:
    target = registry.get("head", head.name).load()

    def make(maps: list[MapShape], classes: int) -> nn.Module:
        built: nn.Module = target(maps, classes, **head.arguments)
        return built

    return make


def _of_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or deviation of RGB for images of C channels, as timm adapts the weights of the first convolution.

    Grey images take the mean of the three; of more channels, each takes that of red, green and blue in turn.
    """
    if len(values) == channels:
        return values
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[index % len(values)] for index in range(channels))


def published_head(trunk: Trunk, model: ModelSpec, names: Sequence[str]) -> nn.Linear:
    """The classifier that weights came with, for the classes of a data set, in the data set's order.

    Args:
        trunk: the network with its weights.
        model: its spec.
        names: of the data set's classes, each of which must be one of the classifier's.

    Raises:
        WeightsError: the weights have no such classifier.
    """
    head, advice = trunk.head, "use linear_probe or finetune"
    if head is None or head.in_features != trunk.dim:
        problem = f"the weights of {model.label} come without a classifier of one linear layer"
        raise WeightsError(f"{problem}, and `published` tests that; {advice}")
    known = model.weights.classes if model.weights is not None else None
    try:
        rows = head_rows(names, head.out_features, known or trunk.class_names)
    except ClassNameError as error:
        problem = f"the weights of {model.label} come with a classifier of {head.out_features} classes, {error}"
        raise WeightsError(f"{problem}; {advice}") from None
    if rows == list(range(head.out_features)):
        return head
    part = torch.nn.utils.skip_init(nn.Linear, head.in_features, len(rows), device=head.weight.device)
    part.load_state_dict({name: tensor[rows] for name, tensor in head.state_dict().items()})
    return part
