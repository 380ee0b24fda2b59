"""One spec for each kind of stage: all that a worker needs, and all that the stage's key is taken over.

A spec names no device, executor or label. A path in it counts in the key by its content.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter

from benchbench.specs.parts import (
    Choice,
    ComponentSpec,
    ComponentVersion,
    DataSpec,
    InputSpec,
    LossSpec,
    ModelSpec,
    NetworkSpec,
    RecipeSpec,
    Role,
    Spec,
    TeacherSpec,
)

Method = Literal["scratch", "linear_probe", "finetune", "published", "distill"]
Split = Literal["train", "validation", "test", "synthetic"]


class BaseSpec(Spec):
    """The part of every stage's spec that its key needs.

    Attributes:
        components: version and source of each component that the stage uses, by "kind/name".
        code: hash of the code that runs the stage.
        needs: keys of the stages whose results it reads, by role.
    """

    components: dict[str, ComponentVersion]
    code: str
    needs: dict[str, str] = Field({})


# Roles of the trials that a cell chooses from: "trial0", "trial1", ... of its own seed, and those of the other seeds.
TRIAL, OTHER_SEEDS = "trial", "other-seeds."


class TrainingSpec(BaseSpec):
    """The training of a cell's student, the adaptation of a teacher, or the pre-training of either.

    Where it needs another training as "start", its network begins with the weights of that. A cell that needs trials
    trains nothing: it tests the best of them. Its recipe and losses are those of the first trial.

    Attributes:
        method: how it is trained.
        seed: of weights, dropout and negatives.
        data_seed: of the order of images and their augmentation.
        view_seed: of the views that frozen networks are run on.
        model, role: the network that trains.
        teachers: frozen; none without distillation.
        selection: the epoch whose weights are tested.
    """

    kind: Literal["cell", "trial", "teacher", "pretraining"]
    method: Method
    seed: int
    data_seed: int
    view_seed: int
    data: DataSpec
    model: ModelSpec
    role: Role
    teachers: tuple[TeacherSpec, ...] = ()
    loss: tuple[LossSpec, ...]
    recipe: RecipeSpec
    selection: Literal["last", "best"] = "last"

    @property
    def trains_head_alone(self) -> bool:
        """True where a head trains on cached embeddings, and no trunk is run."""
        return self.method == "linear_probe" and self.model.head is None

    @property
    def searched(self) -> bool:
        """True where it chooses from trials."""
        return f"{TRIAL}0" in self.needs


class OutputsSpec(BaseSpec):
    """A frozen network's outputs on every view of a data set, or on every image of a generated set.

    Attributes:
        network: the one that is run.
        splits: of the data set.
        images: of the generated set; None where that is not asked for.
    """

    kind: Literal["outputs"] = "outputs"
    data: DataSpec
    view_seed: int
    network: NetworkSpec
    recipe: InputSpec
    splits: tuple[Split, ...]
    images: int | None = None


class QualitySpec(BaseSpec):
    """Measures of a generated set by one network's features."""

    kind: Literal["quality"] = "quality"
    data: DataSpec
    view_seed: int
    network: NetworkSpec
    recipe: InputSpec


class TuningSpec(BaseSpec):
    """The choice of how a network is run on one device.

    Attributes:
        trained: whether it trains or is frozen.
        steps: order of magnitude of the run's length; 0 for a short one.
        device, threads: what the choice holds for; `threads` on a CPU alone.
    """

    kind: Literal["tuning"] = "tuning"
    model: ModelSpec
    role: Role
    trained: bool
    batch_size: int
    image_size: int
    precision: Literal["fp32", "auto", "bf16", "fp16", "exact"]
    channels_last: Choice
    fold_bn: Choice
    compile: Choice
    steps: int
    device: str
    threads: int | None


class CalibrationSpec(BaseSpec):
    """The throughput of a network's pre-training on one device; `device` and `threads` as in `TuningSpec`."""

    kind: Literal["calibration"] = "calibration"
    model: ModelSpec
    role: Role
    image_size: int
    precision: Literal["fp32", "auto", "bf16", "fp16", "exact"]
    channels_last: Choice
    fold_bn: Choice
    compile: Choice
    device: str
    threads: int | None


class DiffusionSpec(BaseSpec):
    """The training of a generator; of its parameters those alone that the training depends on."""

    kind: Literal["diffusion"] = "diffusion"
    data: DataSpec
    seed: int
    generator: ComponentSpec


class SynthesisSpec(BaseSpec):
    """The generation of a set of images.

    Attributes:
        times, per_class: how many; one of them is given.
        size: pixels a side that they are kept at; None as they are made.
    """

    kind: Literal["synthesis"] = "synthesis"
    data: DataSpec
    seed: int
    generator: ComponentSpec
    times: float | None = None
    per_class: int | None = None
    size: int | None = None


StageSpec = Annotated[
    TrainingSpec | OutputsSpec | QualitySpec | TuningSpec | CalibrationSpec | DiffusionSpec | SynthesisSpec,
    Field(discriminator="kind"),
]
# A store has a folder of each.
STAGE_KINDS: frozenset[str] = frozenset(
    kind for spec in get_args(get_args(StageSpec)[0]) for kind in get_args(spec.model_fields["kind"].annotation)
)
STAGE_SPEC: TypeAdapter[StageSpec] = TypeAdapter(StageSpec, config=ConfigDict(defer_build=True))
