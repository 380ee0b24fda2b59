"""Stages that several others share: outputs of frozen networks, and the tuning of how networks are run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from benchbench.planning.draft import PlanDraft
from benchbench.planning.model import corpus_of
from benchbench.planning.source_hash import source_hash
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.specs.parts import ComponentVersion, DataSpec, InputSpec, NetworkSpec, contents_only
from benchbench.specs.stages import OutputsSpec, Split, TrainingSpec, TuningSpec

# Fields of a recipe that cells which train side by side need not share: each has its own optimiser.
OPTIMIZER_FIELDS = {
    "optimizer",
    "lr",
    "head_lr",
    "weight_decay",
    "momentum",
    "schedule",
    "milestones",
    "gamma",
    "warmup_epochs",
    "clip_grad",
    "clip_mode",
    "accumulate",
    "dot",
    "optimizer_params",
    "class_weights",
    "early_stop",
    "layer_decay",
    "ema",
    "ema_warmup",
}
# Fields of a recipe that a tuning stage works within.
TUNING_FIELDS = ("batch_size", "image_size", "precision", "channels_last", "fold_bn", "compile")

# Runs of fewer steps than this are never worth compiling for.
LONG = 10_000


@dataclass(frozen=True)
class Network:
    """A network that a stage runs.

    Attributes:
        name: its label in the suite.
        spec: the network.
        stage: key of the stage that adapted it; None where its weights are public ones.
        trained: whether the stage trains it.
    """

    name: str
    spec: NetworkSpec
    stage: str | None = None
    trained: bool = False

    @property
    def label(self) -> str:
        """For people: the name, and the state where it is adapted."""
        return self.name if self.spec.state == "pretrained" else f"{self.name} ({self.spec.state})"


@dataclass(frozen=True)
class NetworkInputs:
    """Images that a frozen network is run on.

    Attributes:
        label: of the data set.
        data, recipe: the images, and their views and batches.
        needs: keys of the stages that generated images come from, by role.
    """

    label: str
    data: DataSpec
    recipe: InputSpec
    needs: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> NetworkInputs:
        """The real images of the data set, each once and not augmented."""
        data = self.data.model_copy(update={"synthetic": None})
        return NetworkInputs(self.label, data, self.recipe.model_copy(update={"augment": (), "views": None}))


class FrozenParts(TypedDict):
    """The fields that the specs of all stages with one frozen network have."""

    data: DataSpec
    view_seed: int
    network: NetworkSpec
    recipe: InputSpec
    components: dict[str, ComponentVersion]
    needs: dict[str, str]


def cohort_key(spec: TrainingSpec, second_view: bool = False) -> str | None:
    """The cohort of a cell: equal for cells that see the same batches, at the same time, and the same teachers.

    Args:
        spec: of the cell.
        second_view: whether its batches have a second view of each image, which cells without do not pay for.
    """
    if spec.method in ("linear_probe", "published"):  # they have no batches to share
        return None
    needs = set(spec.needs) - {"start"}  # each has its own
    shared = spec.model_dump(
        mode="json",
        by_alias=True,
        include={"data": True, "needs": needs, "teachers": {"__all__": {"model", "state"}}, "recipe": True},
        exclude={"recipe": OPTIMIZER_FIELDS},
    )
    text = json.dumps(contents_only(shared), sort_keys=True) + ("" if spec.kind == "cell" else spec.kind)
    text += " second view" if second_view else ""
    return with_data_seed(hashlib.sha256(text.encode()).hexdigest(), spec.data_seed)


def with_data_seed(cohort: str, data_seed: int) -> str:
    """The cohort of the same cells whose images come in the order of another seed."""
    return f"{cohort.partition(' ')[0]} {data_seed}"


class SharedStages:
    """Adds "outputs" and "tuning" stages to a plan."""

    def __init__(self, draft: PlanDraft):
        self.draft = draft

    def outputs(self, network: Network, inputs: NetworkInputs, splits: tuple[Split, ...] = ("train",)) -> str:
        """The stage that runs a frozen network once over every view of a data set.

        Args:
            network: the frozen network.
            inputs: data and views of the stage that reads the outputs.
            splits: the splits of the data set that it needs; a probe's head needs all three.
        """
        spec = OutputsSpec(
            **self.frozen_parts(network, inputs), splits=splits, code=source_hash("benchbench.stages.outputs")
        )
        views = "1 view" if inputs.recipe.views == 1 else f"{inputs.recipe.views} views"
        corpus = corpus_of(inputs.label)
        images = inputs.label if corpus is None else f"the corpus of {corpus}"
        label = f"{network.label} outputs on {views} of {images}"
        return self.draft.add(spec, label, self.tuning("teacher0", network, inputs.recipe))

    def set_outputs(self, network: Network, inputs: NetworkInputs, set_label: str, images: int) -> str:
        """The stage that runs a frozen network once over every image of a generated set.

        Args:
            network: the frozen network.
            inputs: plain ones; they need the stage that generates the set.
            set_label: label of the set.
            images: their number.
        """
        parts = self.frozen_parts(network, inputs)
        spec = OutputsSpec(**parts, splits=("synthetic",), images=images, code=source_hash("benchbench.stages.outputs"))
        label = f"{network.label} outputs on {set_label} images of {inputs.label}"
        return self.draft.add(spec, label, self.tuning("teacher0", network, inputs.recipe))

    def frozen_parts(self, network: Network, inputs: NetworkInputs) -> FrozenParts:
        """The part of a stage's spec that describes its frozen network and the images that it is run on."""
        builder = SpecBuilder(self.draft.resolver)
        builder.use_inputs(inputs.data, inputs.recipe)
        builder.use_network(network.spec.role, network.spec.model)
        adapted = {"teacher0": network.stage} if network.stage else {}
        return FrozenParts(
            data=inputs.data,
            view_seed=self.draft.suite.view_seed,
            network=network.spec,
            recipe=inputs.recipe,
            components=builder.components,
            needs={**adapted, **inputs.needs},
        )

    def tuning(self, role: str, network: Network, recipe: InputSpec, steps: int = 0) -> dict[str, str]:
        """By "tuning.ROLE", the stage that finds the fastest way to run a network here; none where nothing is free."""
        if recipe.precision == "exact":
            return {}
        builder = SpecBuilder(self.draft.resolver)
        builder.use_network(network.spec.role, network.spec.model)
        spec = TuningSpec(
            model=network.spec.model.without_weights(),
            role=network.spec.role,
            trained=network.trained,
            **{name: getattr(recipe, name) for name in TUNING_FIELDS},
            # Compilation pays in long runs alone; their order of magnitude is enough to say so.
            steps=10 ** int(math.log10(steps)) if steps >= LONG else 0,
            device=self.draft.devices.name,
            threads=self.draft.threads,
            components=builder.components,
            code=source_hash("benchbench.stages.tuning"),
        )
        mode = "training" if network.trained else "inference"
        return {f"tuning.{role}": self.draft.add(spec, f"tuning {network.name} {mode} at {recipe.image_size} px")}
