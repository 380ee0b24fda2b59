"""A check while planning that the weights of a suite's networks are there, are readable and fit.

Imports torch only when a check runs, so that a plan can describe one without it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from benchbench.components import Registry
from benchbench.costs.requests import WeightsRequest
from benchbench.costs.without_memory import without_memory
from benchbench.errors import BenchBenchError, one_line
from benchbench.models.class_names import SUBSETS

if TYPE_CHECKING:
    from benchbench.models.backbone import Trunk
    from benchbench.models.weights import Weights

# Of files up to this size all numbers are read, to find those that are not finite; of larger ones names and shapes.
READ_WHOLE = 2**30


def weights_refusal(request: WeightsRequest, registry: Registry) -> str | None:
    """The reason for which a network cannot start from its weights; None where it can, as far as a plan can tell.

    Nothing is downloaded: of a library's own weights the tag is checked, and the number of classes.
    """
    try:
        trunk = _trunk(request, registry)
        if request.published:
            _check_head(request, trunk)
    except BenchBenchError as error:
        return one_line(error)
    return None


def _trunk(request: WeightsRequest, registry: Registry) -> Trunk:
    from benchbench.models.weights import Weights

    model = request.model
    assert model.weights is not None
    weights = Weights.of(model.weights)
    weights = dataclasses.replace(weights, shapes_only=_is_large(weights))
    build = registry.get(request.role, model.source).load()  # some libraries compute with tensors at import
    try:
        with without_memory():
            trunk: Trunk = build(model.name, weights, **model.arguments)
    except NotImplementedError:  # a constructor that computes with tensors
        trunk = build(model.name, weights, **model.arguments)
    return trunk


def _is_large(weights: Weights) -> bool:
    if weights.pretrained is not None:
        return True
    path = weights.path()
    return path.is_file() and path.stat().st_size > READ_WHOLE


def _check_head(request: WeightsRequest, trunk: Trunk) -> None:
    from benchbench.models.build import published_head

    weights, names = request.model.weights, request.names
    if not names:
        known = (weights is not None and weights.classes) or trunk.class_names
        width = trunk.head.out_features if trunk.head is not None else 0
        if request.classes <= width and (known or width in SUBSETS):
            return  # the run knows the names
        names = ("",) * request.classes
    published_head(trunk, request.model, names)
