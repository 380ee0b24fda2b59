"""History: finished stages that did the same work, whose mean is the best estimate of the next one.

The same work: the same networks, losses, augmenters, batches, resolution and precision on the same kind of device.
Seeds, epochs, learning rates, weights and the number of images do not change the cost of one image. Stages on the same
data set count before those on others.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from benchbench.costs.estimate import FORWARDS_PER_STEP
from benchbench.costs.locs import COUNTED_KINDS
from benchbench.errors import StoreError
from benchbench.planning.model import Plan, Stage
from benchbench.specs.parts import Json, ModelSpec
from benchbench.specs.records import DiffusionRecord, OutputsRecord, StageRecord, SynthesisRecord, TrainingRecord
from benchbench.specs.stages import DiffusionSpec, OutputsSpec, StageSpec, SynthesisSpec, TrainingSpec
from benchbench.store import KEY_LENGTH, StageFolder, Store

GENERATING = ("diffusion", "synthesis")
PREDICTED_KINDS = (*COUNTED_KINDS, *GENERATING)
# Fields of a recipe that change the cost of an image.
RECIPE_FIELDS = (
    *("batch_size", "image_size", "eval_resize", "augment", "views", "mix", "optimizer", "dot", "accumulate", "ema"),
    *("precision", "channels_last", "fold_bn", "compile", "decode"),
)
# Fields of a stage's data that change the number of images or their folder, and not the cost of one.
AMOUNT_FIELDS = {"folder", "fraction", "per_class", "subset_seed", "validation"}
# Parameters of a generator that change the number of its steps, or the texts that it draws.
AMOUNT_PARAMS = {"train_steps", "prompts"}
# Sections whose time does not grow with the images.
FIXED_SECTIONS = ("setup", "compile")
# Most stages that a pace is the mean of, and most that are read of those that are not in the plan.
SAMPLE, OTHERS = 8, 200


class Work(NamedTuple):
    """Work of a stage on each image, and the data set that the images come from."""

    steps: str
    data: str


Folders = dict[Work, list[tuple[StageFolder, StageSpec]]]


@dataclass(frozen=True)
class Pace:
    """Device-hours of a kind of work.

    Attributes:
        fixed: of a stage, however much it does.
        unit: of an image that is trained on (testing one is a third of that), run through a frozen network or
            generated; of a step that trains a generator.
        stages: number of stages that this is the mean of.
    """

    fixed: float
    unit: float
    stages: int

    def hours(self, units: float) -> float:
        return self.fixed + self.unit * units


class History:
    """The paces of work that a store has finished stages of, as it was when each was first asked for."""

    def __init__(self, plan: Plan, store: Store):
        self._plan, self._store = plan, store
        self._paces: dict[Work, Pace | None] = {}
        self._own: Folders = defaultdict(list)
        for key, stage in plan.stages.items():
            work = work_of(stage.spec)
            if work is not None:
                self._own[work].append((store.stage(stage.kind, key), stage.spec))
        self._others: Folders | None = None

    def pace(self, stage: Stage) -> Pace | None:
        """The mean of stages like this one; None where none is finished on this device."""
        work = work_of(stage.spec)
        if work is None:
            return None
        if work not in self._paces:
            self._paces[work] = self._mean(work, same_data=True) or self._mean(work, same_data=False)
        return self._paces[work]

    def _mean(self, work: Work, same_data: bool) -> Pace | None:
        measured = (self._measured(folder, spec) for folder, spec in self._folders(work, same_data))
        paces = list(itertools.islice((pace for pace in measured if pace is not None), SAMPLE))
        if not paces:
            return None
        n = len(paces)
        return Pace(sum(pace.fixed for pace in paces) / n, sum(pace.unit for pace in paces) / n, n)

    def _folders(self, work: Work, same_data: bool) -> Iterator[tuple[StageFolder, StageSpec]]:
        """Stages that do the same work: the plan's own first."""
        yield from _same_work(self._own, work, same_data)
        if self._others is None:
            self._others = _newest(self._store, {key[:KEY_LENGTH] for key in self._plan.stages})
        yield from _same_work(self._others, work, same_data)

    def _measured(self, folder: StageFolder, spec: StageSpec) -> Pace | None:
        """The pace of one stage; None if it is not finished on this device, or cannot be read."""
        try:
            record = folder.done()
        except StoreError:
            return None
        if record is None:
            return None
        cost, devices = record.cost, self._plan.devices
        if (record.environment.device, cost.unit) != (devices.name, devices.unit):
            return None
        units = _units(record, spec)
        fixed = sum(cost.alone_seconds.get(section, 0.0) for section in FIXED_SECTIONS) * cost.devices / 3600
        return Pace(fixed, (cost.alone_device_hours - fixed) / units, 1) if units else None


def work_of(spec: StageSpec) -> Work | None:
    """The work that a stage does; None for a kind of stage that is not predicted."""
    if isinstance(spec, DiffusionSpec | SynthesisSpec):
        params = {name: value for name, value in spec.generator.params.items() if name not in AMOUNT_PARAMS}
        size = spec.size if isinstance(spec, SynthesisSpec) else None
        return Work(_text([spec.kind, spec.generator.name, params, size]), _data_text(spec))
    if not isinstance(spec, TrainingSpec | OutputsSpec):
        return None
    recipe = spec.recipe.as_json()
    kind = "cell" if spec.kind == "trial" else spec.kind  # the same work
    steps: Json = {"kind": kind, "recipe": {name: recipe.get(name) for name in RECIPE_FIELDS}}
    if isinstance(spec, OutputsSpec):
        steps["network"] = _network(spec.network.model)
    else:
        steps |= _training_steps(spec)
    return Work(_text(steps), _data_text(spec))


def _training_steps(spec: TrainingSpec) -> Json:
    return {
        "method": spec.method,
        "model": _network(spec.model),
        "teachers": [_network(teacher.model) for teacher in spec.teachers],
        "cached": [f"outputs{index}" in spec.needs for index in range(len(spec.teachers))],
        "loss": [{"name": loss.name, "params": loss.params} for loss in spec.loss],
    }


def _data_text(spec: TrainingSpec | OutputsSpec | DiffusionSpec | SynthesisSpec) -> str:
    return _text(spec.data.model_dump(mode="json", by_alias=True, exclude=AMOUNT_FIELDS))


def _network(model: ModelSpec) -> Json:
    return model.model_dump(mode="json", by_alias=True, exclude={"weights", "mean", "std"})


def _text(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True)


def _same_work(folders: Folders, work: Work, same_data: bool) -> Iterable[tuple[StageFolder, StageSpec]]:
    if same_data:
        return folders.get(work, ())
    return (pair for other, pairs in folders.items() if other.steps == work.steps for pair in pairs)


def _newest(store: Store, planned: set[str]) -> Folders:
    """The newest finished stages of other plans, by the work that they do.

    Args:
        store: to look in.
        planned: folder names of the plan's own stages.
    """
    folders: Folders = defaultdict(list)
    for kind in PREDICTED_KINDS:
        try:
            with os.scandir(store.root / kind) as entries:  # tens of thousands, perhaps
                names = sorted((entry.stat().st_mtime, entry.name) for entry in entries if entry.name not in planned)
        except OSError:
            continue
        newest = (store.stage(kind, name) for _, name in reversed(names))
        for folder in itertools.islice((each for each in newest if each.record.exists()), OTHERS):
            spec = _readable_spec(folder)
            if spec is not None and (work := work_of(spec)) is not None:
                folders[work].append((folder, spec))
    return folders


def _readable_spec(folder: StageFolder) -> StageSpec | None:
    """The spec of a stage; None for one of another version, or a damaged one."""
    try:
        return folder.read_spec()
    except StoreError:
        return None


def _units(record: StageRecord, spec: StageSpec) -> float:
    """The amount of work of a finished stage, in the units of its pace; 0 where the record does not fit the spec."""
    if isinstance(record, DiffusionRecord):
        return record.metrics.steps
    if isinstance(record, SynthesisRecord):
        return record.metrics.images
    if isinstance(record, OutputsRecord) and isinstance(spec, OutputsSpec):
        if "synthetic" in spec.splits:
            return spec.images or 0
        others = record.data.validation + (record.data.test or 0) if "test" in spec.splits else 0
        return record.metrics.images * (record.metrics.views or 1) + others
    if isinstance(record, TrainingRecord) and isinstance(spec, TrainingSpec) and not spec.searched:
        if record.cost.images is None and record.weights_sha256 is None:  # it diverged, nobody noted when
            return 0
        trained = record.metrics.epochs
        validated = record.data.validation * (spec.recipe.epochs if trained is None else trained)
        return (record.cost.images or 0) + (record.metrics.test_count + validated) / FORWARDS_PER_STEP
    return 0
