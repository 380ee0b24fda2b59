"""A plan: the stages of a suite, each with a key, and the cells of its grid."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from benchbench.components import Registry
from benchbench.data.info import DataInfo, Task
from benchbench.hardware.devices import Devices
from benchbench.specs.parts import DataSpec, State
from benchbench.specs.stages import OTHER_SEEDS, Method, StageSpec
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import PreTraining, Suite

# "tuning": the choice of how a network is run; "diffusion": the training of a generator of images; "synthesis": the
# generation of images; "pretraining": a training on another corpus, that others start from; "teacher": the adaptation
# of one; "outputs": a frozen network's outputs on every view of the images; "trial": the training of a student with
# values of a search, without a test; "cell": the training of a student, or the test of the best of its trials;
# "quality": measures of generated images; "calibration": the throughput of a pre-training. In this order where slots
# are free.
KINDS = (
    "tuning",
    "diffusion",
    "synthesis",
    "pretraining",
    "teacher",
    "outputs",
    "trial",
    "cell",
    "quality",
    "calibration",
)

# These start from the student's weights; the others start from random ones.
PRETRAINED_METHODS = ("linear_probe", "finetune", "published")


# Corpora of pre-training stand among a plan's data sets; no label of a suite has a colon.
CORPUS = "pretraining:"


def corpus_label(label: str) -> str:
    """The label of a pre-training's corpus among the data sets of a plan."""
    return CORPUS + label


def corpus_of(data: str) -> str | None:
    """The label of the pre-training whose corpus a data set is; None for a data set of the grid."""
    return data.removeprefix(CORPUS) if data.startswith(CORPUS) else None


@dataclass(frozen=True)
class Stage:
    """One unit of work with inputs, outputs and a cost.

    Attributes:
        spec: its full description, which the key is taken over.
        key: sha256 over the spec, with the content of files in place of their paths.
        label: for people; not part of the key.
        needs: keys of the stages whose weights or outputs it reads, by role.
        soft_needs: keys of the stages whose results make it faster, by role; they are no part of its key.
        cohort: equal for cells that see the same batches and the same teachers, and can train side by side.
        devices: that train its network together; not part of the key.
    """

    spec: StageSpec
    key: str
    label: str
    needs: dict[str, str] = field(default_factory=dict)
    soft_needs: dict[str, str] = field(default_factory=dict)
    cohort: str | None = None
    devices: int = 1

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.spec.kind


@dataclass(frozen=True)
class CellTrial:
    """A trial of a cell: the values that it takes, in words, and the key of its stage."""

    values: str
    stage: str


@dataclass(frozen=True)
class Cell:
    """One point of the grid: one row of results.

    Attributes:
        arm, method, data, student, seed: its coordinates in the grid.
        teachers: labels of the teachers, all in `state`; none without distillation.
        row: the row of the tables that this cell belongs to.
        ladder: the row without the length, where the arm has several.
        stage: key of the stage that trains it.
        calibration: key of the stage that measures the student's pre-training throughput; None where nothing is priced.
        public_start: whether its student begins with public weights, directly or by way of other arms.
        pretraining: the published recipe of those; None where it is not known.
        teacher_pretraining: of each teacher that starts from public weights the same two, recipe and calibration; where
            the suite prices teachers.
        trials: that it chooses from, with its own seed; none without a search.
    """

    arm: str
    method: Method
    data: str
    student: str
    seed: int
    teachers: tuple[str, ...]
    state: State | None
    row: str
    ladder: str | None
    stage: str
    calibration: str | None
    public_start: bool
    pretraining: PreTraining | None
    teacher_pretraining: tuple[tuple[PreTraining | None, str | None], ...] = ()
    trials: tuple[CellTrial, ...] = ()

    @property
    def teacher(self) -> str | None:
        """The teachers in one word, as tables show them."""
        return " + ".join(self.teachers) or None


@dataclass
class Plan:
    """All stages and cells of a suite.

    Attributes:
        file: the suite.
        registry: the components that it may name.
        devices: the ones that it would run on.
        stages: every stage by key; a stage comes after those it needs.
        cells: the grid, in the suite's order.
        info: sizes of each data set, and of each corpus by its `corpus_label`.
        corpora: label of the pre-training of each stage of that kind, by key.
        device_locs: place in the suite that says so, of each stage that takes several devices, by key.
        optimizer_locs, without_dot: as in `benchbench.planning.draft.PlanDraft`.
        needed_cells: of a part of a grid, the cells outside of it whose stages it needs: others go on from them.
    """

    file: SuiteFile
    registry: Registry
    devices: Devices
    stages: dict[str, Stage]
    cells: list[Cell]
    info: dict[str, DataInfo]
    corpora: dict[str, str] = field(default_factory=dict)
    device_locs: dict[str, Loc] = field(default_factory=dict)
    optimizer_locs: dict[str, Loc] = field(default_factory=dict)
    without_dot: set[str] = field(default_factory=set)
    needed_cells: list[Cell] = field(default_factory=list)

    @property
    def suite(self) -> Suite:
        return self.file.suite

    @property
    def task(self) -> Task:
        """The task of the suite's data sets."""
        return self.info[next(iter(self.suite.data))].task

    @property
    def key(self) -> str:
        """One hash for the whole grid, wherever it runs: equal keys mean equal experiments."""
        return hashlib.sha256("".join(cell.stage for cell in self.cells).encode()).hexdigest()

    @property
    def has_pairs(self) -> bool:
        """True where several teachers are distilled into several students."""
        distilled = [cell for cell in self.cells if cell.teachers]
        return len({cell.teachers for cell in distilled}) > 1 and len({cell.student for cell in distilled}) > 1

    def part(self, kinds: Collection[str]) -> Plan:
        """The stages of some kinds alone, without cells."""
        stages = {key: stage for key, stage in self.stages.items() if stage.kind in kinds}
        return replace(self, stages=stages, cells=[], needed_cells=[])

    def dependencies(self, key: str, own_seed: bool = False) -> list[str]:
        """Keys of all stages that a stage depends on, directly or not, each once; soft needs included.

        Args:
            key: of the stage.
            own_seed: leaves out trials of other seeds, whose cost is that of the cells of those.
        """
        keys: dict[str, None] = {}
        open_keys = [key]
        while open_keys:
            stage = self.stages[open_keys.pop()]
            left_out = OTHER_SEEDS if own_seed else " "
            needs = [each for role, each in stage.needs.items() if not role.startswith(left_out)]
            for needed in (*needs, *stage.soft_needs.values()):
                if needed not in keys:
                    keys[needed] = None
                    open_keys.append(needed)
        return list(keys)

    def train_images(self, spec: DataSpec, data: str) -> int:
        """Training images of a stage's data, after the subset and the validation split; `data` is the set's label."""
        return train_images(self.info[data], spec)

    def validation_images(self, spec: DataSpec, data: str) -> int:
        """Images that a stage's data hold out."""
        info = self.info[data]
        return info.validation or round(_subset(info, spec) * spec.validation)


def train_images(info: DataInfo, spec: DataSpec) -> int:
    """Training images of a stage's data, after the subset and the validation split."""
    subset, use = _subset(info, spec), spec.synthetic
    held_out = 0 if info.validation else round(subset * spec.validation)
    real = max(subset - held_out, info.classes)  # a split leaves each class an image
    return real + use.at_most if use and use.share is None else real


def _subset(info: DataInfo, spec: DataSpec) -> int:
    if spec.per_class is not None:
        return spec.per_class * info.classes
    return info.train if spec.fraction is None else round(info.train * spec.fraction)
