"""Cost of a plan before it is run: images, and floating-point operations counted on the networks themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchbench.costs.locs import locs_of
from benchbench.costs.network_check import NetworkCosts, network_costs
from benchbench.losses.needs import losses_with
from benchbench.planning.model import Plan
from benchbench.specs.stages import OutputsSpec, TrainingSpec

# A training step costs one forward pass and about two more for the backward pass.
FORWARDS_PER_STEP = 3
# Kinds of stages that measure for a few seconds, whatever the suite asks for.
MEASURING = ("tuning", "calibration")


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of one stage.

    Attributes:
        images: training images, over all epochs.
        flops: floating-point operations of training and of testing.
    """

    images: int
    flops: float


def estimate(plan: Plan) -> dict[str, CostEstimate]:
    """The predicted cost of every stage that trains or runs a network, by key.

    Raises:
        SuiteError: a model that its source does not have, or that cannot be built.
    """
    locs, networks = locs_of(plan), network_costs(plan)
    estimates: dict[str, CostEstimate] = {}
    for key, stage in plan.stages.items():
        if isinstance(stage.spec, TrainingSpec):
            estimates[key] = _training(plan, key, stage.spec, locs[key].data, networks)
        elif isinstance(stage.spec, OutputsSpec):
            forward, others = forward_images(plan, stage.spec, locs[key].data)
            estimates[key] = CostEstimate(forward, float((forward + others) * networks[key, "network"].flops))
    return estimates


def training_images(plan: Plan, spec: TrainingSpec, data: str) -> int:
    """Training images of a stage, over all epochs; none of a cell that chooses from trials."""
    if spec.searched:
        return 0
    recipe, count = spec.recipe, plan.train_images(spec.data, data)
    batch = min(recipe.batch_size, count)
    # A two-stage method's first stage is a parameter of its loss by that name.
    preparations = [loss.params.get("preparation", 0) for loss in spec.loss]
    preparation = max((share for share in preparations if isinstance(share, int | float)), default=0)
    epochs = recipe.epochs + math.ceil(round(preparation * recipe.epochs, 9))  # as the training loop counts them
    return max(1, count // batch) * batch * epochs


def views_of(plan: Plan, spec: TrainingSpec) -> int:
    """Views of each image that the networks of a training are run on."""
    return 2 if losses_with("second_view", spec.loss, plan.registry) else 1


def evaluation_images(plan: Plan, spec: TrainingSpec, data: str) -> int:
    """Images of the test, and of the validation split in every epoch; of a search, each in a stage of its own."""
    tested = 0 if spec.kind == "trial" else plan.info[data].test
    return tested + (0 if spec.searched else plan.validation_images(spec.data, data) * spec.recipe.epochs)


def forward_images(plan: Plan, spec: OutputsSpec, data: str) -> tuple[int, int]:
    """Images that a stage runs a frozen network on: views of those to train on, and others."""
    if "synthetic" in spec.splits:
        return spec.images or 0, 0
    others = plan.validation_images(spec.data, data) + plan.info[data].test if "test" in spec.splits else 0
    return plan.train_images(spec.data, data) * (spec.recipe.views or 1), others


def _training(plan: Plan, key: str, spec: TrainingSpec, data: str, networks: NetworkCosts) -> CostEstimate:
    images, evaluated = training_images(plan, spec, data), evaluation_images(plan, spec, data)
    student = networks[key, "model"]
    if spec.trains_head_alone:  # its trunk runs in the stage that stores its outputs
        head = 2.0 * student.dim * plan.info[data].classes
        return CostEstimate(images, head * (FORWARDS_PER_STEP * images + evaluated))
    forwards = 1 if spec.method == "linear_probe" else FORWARDS_PER_STEP  # of a frozen trunk
    views = views_of(plan, spec)
    flops = images * views * student.flops * forwards
    for index in range(len(spec.teachers)):
        if f"outputs{index}" not in spec.needs:
            flops += images * views * networks[key, f"teacher{index}"].flops
    return CostEstimate(images, float(flops + evaluated * student.flops))
