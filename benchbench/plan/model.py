"""A plan: the stages of a suite, each with a key, and the cells of its grid."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchbench.data.info import DataInfo
from benchbench.hardware.devices import Devices
from benchbench.plugins import PluginHost
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import PreTraining, Suite

# "tuning": choosing how a network is run; "diffusion": training a generator of images; "synthesis": generating them;
# "teacher": adapting one; "outputs": what a frozen network says of every view of the images; "cell": training a
# student; "quality": judging generated images; "calibration": measuring throughput. In this order where slots are free.
KINDS = ("tuning", "diffusion", "synthesis", "teacher", "outputs", "cell", "quality", "calibration")


# These start from the student's weights; the others start from random ones.
PRETRAINED_METHODS = ("linear_probe", "finetune", "published")


@dataclass(frozen=True)
class Stage:
    """One unit of work with inputs, outputs and a cost.

    Attributes:
        kind: one of `KINDS`.
        key: sha256 over the job without places of files.
        label: for people; not part of the key.
        job: all that a worker needs to know, as JSON.
        needs: keys of the stages whose weights or outputs it reads, by role.
        after: keys of the stages whose findings make it faster, by role; they are no part of its key.
        group: cells of one group see the same batches and the same teachers, and can train side by side.
    """

    kind: str
    key: str
    label: str
    job: dict[str, Any]
    needs: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    group: str | None = None


@dataclass(frozen=True)
class Cell:
    """One point of the grid: one row of results.

    Attributes:
        arm, method, data, student, seed: where it stands in the grid.
        teachers: labels of the teachers, all in state `adapt`; none without distillation.
        row: the row of the tables that this cell belongs to.
        stage: key of the stage that trains it.
        calibration: key of the stage that measures the student's pre-training throughput; None where nothing is priced.
        pretraining: the published recipe of the weights that the student starts from; None for random or unknown ones.
        taught_by: of each teacher that starts from public weights the same two: recipe and calibration; where the suite
            prices teachers.
    """

    arm: str
    method: str
    data: str
    student: str
    seed: int
    teachers: tuple[str, ...]
    adapt: str | None
    row: str
    stage: str
    calibration: str | None
    pretraining: PreTraining | None
    taught_by: tuple[tuple[PreTraining | None, str | None], ...] = ()

    @property
    def teacher(self) -> str | None:
        """The teachers in one word, as tables show them."""
        return " + ".join(self.teachers) or None


@dataclass
class Plan:
    """All that a suite asks for.

    Attributes:
        file: the suite.
        host: the plugins.
        devices: what it would run on.
        stages: every stage by key; a stage comes after those it needs.
        cells: the grid, in the suite's order.
        info: sizes of each data set, by its label.
    """

    file: SuiteFile
    host: PluginHost
    devices: Devices
    stages: dict[str, Stage]
    cells: list[Cell]
    info: dict[str, DataInfo]

    @property
    def suite(self) -> Suite:
        return self.file.suite

    @property
    def key(self) -> str:
        """One hash for the whole grid, wherever it runs: equal keys mean equal experiments."""
        return hashlib.sha256("".join(cell.stage for cell in self.cells).encode()).hexdigest()

    def part(self, kinds: Collection[str]) -> Plan:
        """The stages of some kinds alone, without cells."""
        stages = {key: stage for key, stage in self.stages.items() if stage.kind in kinds}
        return replace(self, stages=stages, cells=[])

    def foundations(self, key: str) -> list[str]:
        """Keys of all stages that a stage stands on, directly or not, each once."""
        found: dict[str, None] = {}
        open_keys = [key]
        while open_keys:
            stage = self.stages[open_keys.pop()]
            for needed in (*stage.needs.values(), *stage.after.values()):
                if needed not in found:
                    found[needed] = None
                    open_keys.append(needed)
        return list(found)

    def train_images(self, job: dict[str, Any], data: str) -> int:
        """Training images of a job's data, after the subset and the validation split."""
        return train_images(self.info[data], job)

    def validation_images(self, job: dict[str, Any], data: str) -> int:
        """Images that a job's data hold out."""
        return round(_subset(self.info[data], job) * job["validation"])


def train_images(info: DataInfo, job: Mapping[str, Any]) -> int:
    """Training images of a job's data, after the subset and the validation split."""
    subset, use = _subset(info, job), job.get("synthetic")
    real = max(subset - round(subset * job["validation"]), info.classes)  # a split leaves each class an image
    return real + use["at_most"] if use and use["share"] is None else real


def _subset(info: DataInfo, job: Mapping[str, Any]) -> int:
    if job["per_class"] is not None:
        return job["per_class"] * info.classes
    return info.train if job["fraction"] is None else round(info.train * job["fraction"])
