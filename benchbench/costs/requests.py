"""Requests to the process that builds networks for a plan, and its answers; see `benchbench.costs.flops`."""

from __future__ import annotations

import functools
import hashlib
import json

from pydantic import Field

from benchbench.costs.dry_run import DryRunRequest
from benchbench.specs.parts import ComponentVersion, Json, ModelSpec, Role, Spec, contents_only
from benchbench.specs.records import RecordPart


class BuildRequest(Spec):
    """Base of a request.

    Attributes:
        code: hash of the code that answers it.
    """

    code: str

    @functools.cached_property
    def key(self) -> str:
        """sha256 over the request, with the content of files in place of their paths."""
        text = json.dumps(contents_only(self.as_json()), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


class NetworkRequest(BuildRequest):
    """The cost of a network on images of one size.

    Attributes:
        model, role: the network, without weights.
        image_size: pixels a side.
        component: version and source of the model's source.
        one_image: whether it is trained on batches of one image.
        classes: of a segmentation, whose head counts; None for images, whose classifier does not.
    """

    model: ModelSpec
    role: Role
    image_size: int
    component: ComponentVersion
    one_image: bool = False
    classes: int | None = None


class LossRequest(BuildRequest):
    """A dry run of a cell's losses; `components`: version and source of each component of the cell."""

    dry_run: DryRunRequest
    components: dict[str, ComponentVersion]


class WeightsRequest(BuildRequest):
    """A check of a network's weights.

    Attributes:
        model, role: the network, with weights.
        component: version and source of the model's source.
        classes, names: of the data set; no names where a plan does not know them.
        published: whether the classifier of the weights is to be tested on it.
    """

    model: ModelSpec
    role: Role
    component: ComponentVersion
    classes: int
    names: tuple[str, ...] = ()
    published: bool = False


class OptimizerRequest(BuildRequest):
    """A check of a recipe's optimiser.

    Attributes:
        name, params: of the optimiser.
        layered: the network whose layers are to have rates of their own; None where they have one.
        role, component: of that network.
    """

    name: str
    params: Json = Field({})
    layered: ModelSpec | None = None
    role: Role = "student"
    component: ComponentVersion | None = None


class Question(Spec):
    """Requests by key, and the plugin files whose components they name."""

    plugins: tuple[str, ...] = ()
    networks: dict[str, NetworkRequest] = Field({})
    dry_runs: dict[str, LossRequest] = Field({})
    weights: dict[str, WeightsRequest] = Field({})
    optimizers: dict[str, OptimizerRequest] = Field({})


class NetworkCost(RecordPart):
    """Size of a network.

    Attributes:
        parameters: without a classifier; with the head of a segmentation.
        flops: of one forward pass of one image; a multiplication with its addition counts as two.
        dim: width of its embedding.
    """

    parameters: int
    flops: int
    dim: int


class Answers(RecordPart):
    """Answers by the key of their request.

    Attributes:
        costs: of networks.
        errors: of networks that cannot be built or run.
        refusals: of dry runs: the reason, or None where the losses work.
        weights: of checks of weights: the reason, or None where they fit.
        optimizers: likewise of optimisers.
    """

    costs: dict[str, NetworkCost] = Field({})
    errors: dict[str, str] = Field({})
    refusals: dict[str, str | None] = Field({})
    weights: dict[str, str | None] = Field({})
    optimizers: dict[str, str | None] = Field({})

    def lasting(self) -> Answers:
        """Those that hold another time: a network that fails now may work then, and a file may be repaired."""
        weights, optimizers = (
            {key: reason for key, reason in each.items() if reason is None} for each in (self.weights, self.optimizers)
        )
        return self.model_copy(update={"errors": {}, "weights": weights, "optimizers": optimizers})

    def joined(self, other: Answers) -> Answers:
        """These answers and others."""
        return Answers(
            costs=self.costs | other.costs,
            errors=self.errors | other.errors,
            refusals=self.refusals | other.refusals,
            weights=self.weights | other.weights,
            optimizers=self.optimizers | other.optimizers,
        )
