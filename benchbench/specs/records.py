"""Records: what a finished stage leaves, one class for each kind of stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from benchbench.specs.parts import Json, LossSpec, RecipeSpec

Unit = Literal["GPU-hours", "CPU-hours"]
# Of images, steps, parameters, bytes: no JSON reader need take a larger number.
Count = Annotated[int, Field(ge=0, lt=2**63)]


class RecordPart(BaseModel):
    """Base of every part of a record: frozen, no NaN or infinity; fields of a later version are left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, defer_build=True)


class Cost(RecordPart):
    """Cost of a stage: device-hours = devices held x wall-clock.

    Attributes:
        seconds: by section, as it was here; a section that several stages share counts in equal parts.
        alone_seconds: by section, as it would have been alone.
        carried_seconds: seconds that it had taken when it went on from a checkpoint.
        earlier_seconds, earlier_joules: the part of a finished training whose test was made again; a ledger has it.
        devices: devices held.
        unit: of the hours.
        device_hours, alone_device_hours: without "loading" and "gradients", which measures them.
        cohort: stages that ran side by side.
        images: training images, over all epochs; of a stage that trains.
        energy_joules, peak_bytes: None where they were not measured.
    """

    seconds: dict[str, float]
    alone_seconds: dict[str, float]
    carried_seconds: float = 0.0
    earlier_seconds: dict[str, float] = {}
    earlier_joules: float | None = 0.0
    devices: float
    unit: Unit
    device_hours: float
    alone_device_hours: float
    cohort: Count = 1
    images: Count | None = None
    energy_joules: float | None = None
    peak_bytes: Count | None = None


class Environment(RecordPart):
    """Software and device of a run.

    Attributes:
        reference_seconds: of one step that is the same everywhere; see `benchbench.hardware.reference_step`.
    """

    python: str = ""
    platform: str = ""
    device: str
    cuda: str | None = None
    commit: str | None = None
    versions: dict[str, str | None] = {}
    threads: Count | None = None
    reference_seconds: float | None = None


class DataRecord(RecordPart):
    """A data set as a stage saw it: class names, images by split, and the sha256 of images in memory.

    Attributes:
        synthetic: selection of generated images, where there are any.
        note: of the source, on a user's own files: those that are left out, say.
        decoder: of images that stream from disk, under `decode: gpu`; empty under the default, which is Pillow.
    """

    names: tuple[str, ...]
    train: Count
    validation: Count = 0
    test: Count | None = None
    sha256: str | None = None
    synthetic: Json | None = None
    note: str = ""
    decoder: str = ""


class ModelRecord(RecordPart):
    """Size of a network; `flops` are of one forward pass of one image.

    Attributes:
        licence: of the weights that it started from, where their library or package states it.
    """

    parameters: Count
    flops: Count | None = None
    licence: str | None = None


class FrozenModelRecord(ModelRecord):
    """A frozen network: also the width of its embedding, and the sha256 of its parameters and buffers."""

    dim: Count
    sha256: str


class ExecutionRecord(RecordPart):
    """The way that a network was run; see `benchbench.execution.network.ExecutionConfig`.

    Attributes:
        deviation: of its outputs from plain float32, TF32 left aside.
        changed: share of real images whose class its lower precision changes; None where that was not looked at.
        refused: what was too large in the faster ways that were not taken: the share of changed classes or the
            deviation that a lower precision causes ("bf16"), the deviation of the others.
        cuda_graph: whether its steps ran as one CUDA graph each, from the fourth on.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    tf32: bool = False
    channels_last: bool = False
    fold_bn: bool = False
    depthwise: tuple[str, ...] = ()
    compile: str | None = None
    threads: Count | None = None
    deviation: float | None = None
    changed: float | None = None
    refused: dict[str, float] = {}
    cuda_graph: bool = False


# By role; "cached outputs" where a teacher's outputs were read from another stage.
Executions = dict[str, ExecutionRecord | Literal["cached outputs"]]


class Record(RecordPart):
    """The part that every record has. A stage leaves out what its worker knows; in the store all of it is there."""

    key: str = ""
    label: str = ""
    cost: Cost
    environment: Environment = Environment(device="")
    remarks: tuple[str, ...] = ()
    weights_sha256: str | None = None

    def absent(self) -> list[str]:
        """The fields that were to come from a worker and are not there."""
        return [name for name in ("key", "label", "environment") if name not in self.model_fields_set]


class SimilarityRecord(RecordPart):
    """Likeness of a student to its teachers: linear CKA of their embeddings of test images.

    Attributes:
        images: the first ones of the test split.
        start, end: by teacher, before the first step and with the weights that were tested; None where it is undefined.
        family, teacher_families: modules that define the architectures; see `benchbench.stages.similarity`.
    """

    images: Count
    start: tuple[float | None, ...]
    end: tuple[float | None, ...]
    family: str
    teacher_families: tuple[str, ...]


# A loss whose gradient is under this share of cross-entropy's hardly trains the student.
VANISHING = 1e-4


class GradientRecord(RecordPart):
    """Norms of gradients to the student's parameters at the first step.

    Attributes:
        cross_entropy: that of cross-entropy on the labels, times its weight in the suite, or 1.
        terms: of each term of the other losses, times the loss's weight and the share of a teacher of its own.
    """

    cross_entropy: float
    terms: dict[str, float] = {}

    def vanishing(self, limit: float = VANISHING) -> dict[str, float]:
        """The losses of which no term reaches `limit` times cross-entropy's norm, each with its largest share of it."""
        shares: dict[str, float] = {}
        for term, norm in self.terms.items():
            name = term.partition(".")[0].partition(" ")[0]
            shares[name] = max(shares.get(name, 0.0), norm / (self.cross_entropy or norm or 1.0))  # 0 beside 0 is 0
        return {name: share for name, share in shares.items() if share < limit}


class TrainingMetrics(RecordPart):
    """Result of a training; `test_correct` has a bit for each test image (numpy.packbits, as hex).

    Of a segmentation the accuracies are mean intersections over union, as `score` says: there is no `test_correct`, and
    shares are of pixels. Of a detection they are mean average precisions, and there are no such shares.

    The accuracy is None, and the number of test images 0, where a network was pre-trained on images without labels.

    Attributes:
        epochs: that it was trained for, without a first stage; None in records of earlier versions.
        top_class_share: share of the test images for which the network's top class is the one that is that most often.
        largest_class_share: share of the test images that are of the largest class.
        embedding_spread, constant_dimensions: of the test images' embeddings; see `benchbench.training.finite.Spread`.
        similarity: of a distilled student; None where it was not measured.
        gradients: of its losses beside cross-entropy; None where there are none, or they were not measured.
        score: the measure that `test_accuracy` and `validation_accuracy` are.
    """

    test_accuracy: float | None
    test_count: Count
    test_correct: str | None = None
    chosen_epoch: Count
    epochs: Count | None = None
    validation_accuracy: float | None = None
    top_class_share: float | None = None
    largest_class_share: float | None = None
    embedding_spread: float | None = None
    constant_dimensions: float | None = None
    similarity: SimilarityRecord | None = None
    gradients: GradientRecord | None = None
    score: Literal["accuracy", "miou", "map"] = "accuracy"


class ChosenTrial(RecordPart):
    """The trial of a search that was tested: key of its stage, and its recipe and losses."""

    key: str
    recipe: RecipeSpec
    loss: tuple[LossSpec, ...]


class TrainingRecord(Record):
    """Record of a training; of a trial, no test. A trial without a validation accuracy has diverged.

    Attributes:
        chosen: of a cell that has chosen from trials. Its cost is that of the test alone.
    """

    kind: Literal["cell", "trial", "teacher", "pretraining"]
    metrics: TrainingMetrics
    data: DataRecord
    model: ModelRecord
    teachers: tuple[FrozenModelRecord, ...] = ()
    execution: Executions = {}
    chosen: ChosenTrial | None = None


class OutputsMetrics(RecordPart):
    images: Count
    views: Count | None = None


class CachedFiles(RecordPart):
    """Cached outputs on disk: views and their seed, the sha256 of each file by name, bytes in all."""

    views: Count | None = None
    view_seed: int
    sha256: dict[str, str]
    bytes: Count


class OutputsRecord(Record):
    kind: Literal["outputs"] = "outputs"
    metrics: OutputsMetrics
    outputs: CachedFiles
    data: DataRecord
    teachers: tuple[FrozenModelRecord, ...]
    execution: Executions = {}


class TuningMetrics(RecordPart):
    """The chosen way, and the seconds of one step by way."""

    execution: ExecutionRecord
    step_seconds: dict[str, float]


class TuningRecord(Record):
    kind: Literal["tuning"] = "tuning"
    metrics: TuningMetrics


class CalibrationMetrics(RecordPart):
    """Throughput of training steps.

    Attributes:
        images_per_second: at the lower quartile of the steps' seconds.
        images_per_second_range: at their median, and at the fastest step.
        clock: of those seconds.
        wall_images_per_second: at the median of the wall clock, neighbours on the machine included.
    """

    images_per_second: float
    images_per_second_range: tuple[float, float] | None = None
    clock: Literal["wall", "processor"] = "wall"
    wall_images_per_second: float | None = None
    steps: Count
    batch_size: Count


class CalibrationRecord(Record):
    kind: Literal["calibration"] = "calibration"
    metrics: CalibrationMetrics


class DiffusionMetrics(RecordPart):
    loss: float
    steps: Count
    images: Count


class DiffusionRecord(Record):
    kind: Literal["diffusion"] = "diffusion"
    metrics: DiffusionMetrics
    data: DataRecord
    model: ModelRecord


class SynthesisMetrics(RecordPart):
    """Images of a set: made, refused by reason, drawn again, given up."""

    images: Count
    rejected: dict[str, Count] = {}
    retried: Count = 0
    given_up: Count = 0
    images_per_second: float | None = None


class SynthesisRecord(Record):
    """`synthesis` is the generator's own card."""

    kind: Literal["synthesis"] = "synthesis"
    metrics: SynthesisMetrics
    data: DataRecord
    synthesis: Json = {}


class NearestMetrics(RecordPart):
    """Distances to the nearest real image: quartiles, number of copies, and pairs (generated, real) of some."""

    quartiles: tuple[float, float, float]
    copies: Count
    named: tuple[tuple[Count, Count], ...] = ()


class QualityMetrics(RecordPart):
    images: Count
    real: Count
    dimensions: Count
    fid: float | None
    kid: float | None
    kid_std: float | None = None
    precision: float | None = None
    recall: float | None = None
    density: float | None = None
    coverage: float | None = None
    agreement: float | None = None
    confidence: float | None = None
    agreement_by_class: dict[str, float] | None = None
    train: NearestMetrics
    test: NearestMetrics


class QualityRecord(Record):
    kind: Literal["quality"] = "quality"
    metrics: QualityMetrics
    data: DataRecord
    teachers: tuple[FrozenModelRecord, ...]
    execution: Executions = {}


StageRecord = Annotated[
    TrainingRecord
    | OutputsRecord
    | TuningRecord
    | CalibrationRecord
    | DiffusionRecord
    | SynthesisRecord
    | QualityRecord,
    Field(discriminator="kind"),
]
STAGE_RECORD: TypeAdapter[StageRecord] = TypeAdapter(StageRecord, config=ConfigDict(defer_build=True))


class Progress(RecordPart):
    """Progress of a running stage: `done` of `total` steps; the others where there are any.

    `loss` is a mean over the steps of an epoch, `validation_accuracy` (0..1) that of the last epoch.
    """

    done: float
    total: float
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    validation_accuracy: float | None = None


# One epoch of a training curve: "epoch", the terms of the loss, accuracies.
CurveRow = dict[str, float]
