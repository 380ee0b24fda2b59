"""A plan's results as one frame, one row per cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TypeVar

import pandas as pd

from benchbench.costs.pricing import Hours, Measurements, PretrainingPrices
from benchbench.errors import StoreError, visible
from benchbench.planning.model import Cell, Plan, Stage
from benchbench.planning.tasks import metrics_of_task
from benchbench.planning.test_part import saw_other_test
from benchbench.reports.answer_metrics import answer_metrics
from benchbench.reports.columns import COLUMNS, WHOLE
from benchbench.reports.cost_parts import cost_parts
from benchbench.reports.metrics import metric_values
from benchbench.specs.records import Cost, Record, StageRecord, TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.store import StageFolder, Store
from benchbench.suite.schema import PreTraining

Row = dict[str, str | float | None]
_Record = TypeVar("_Record", bound=Record)


def results_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """One row per cell of a plan, from its records in a store; columns as in `benchbench.reports.columns`, and
    one for each metric of a plugin.

    A cell whose record cannot be read counts as failed.
    """
    reader = _Reader(plan, store)
    rows = []
    for cell in plan.cells:
        row = grid_position(plan, cell) | {"status": "missing", "epochs": epochs_of(plan, cell)}
        try:
            rows.append(row | _outcome(cell, reader))
        except StoreError as error:
            rows.append(row | {"status": "failed", "reason": visible(str(error))})
    names = [each.name for each in reader.metrics if each.name not in COLUMNS]
    return pd.DataFrame(rows, columns=[*COLUMNS, *names])


def readable(results: pd.DataFrame) -> pd.DataFrame:
    """The columns of results.csv and --json: all but the bits, which are longer than the rest and stay in the store.

    Whole numbers are whole, also where cells are missing.
    """
    return results.drop(columns="test_correct").astype(dict.fromkeys(WHOLE, "Int64"))


def read_record(folder: StageFolder, kind: type[_Record]) -> _Record | None:
    """The record of a finished stage, else None.

    Raises:
        StoreError: it is damaged, or of another kind of stage.
    """
    record = folder.done()
    if record is None or isinstance(record, kind):
        return record
    raise StoreError(f"{folder.record} is the record of a stage '{record.kind}'; delete {folder.path} and run it again")


class _Reader:
    """Records that many cells need, each read once.

    Attributes:
        dependencies: keys of the stages that each cell's stage needs, directly or not, without trials of other seeds.
        users: number of cells that need each stage.
        parts: the stages that each cell's stage needs, by the part of its cost that they are.
        metrics: those of plugins, for the suite's task.
    """

    def __init__(self, plan: Plan, store: Store):
        self.plan, self.store = plan, store
        self.dependencies = {cell.stage: plan.dependencies(cell.stage, own_seed=True) for cell in plan.cells}
        self.users = Counter(key for cell in plan.cells for key in self.dependencies[cell.stage])
        self.metrics = metrics_of_task(plan.registry, plan.task)
        self.parts = {cell.stage: cost_parts(plan, cell.stage) for cell in plan.cells}
        self._records: dict[str, StageRecord | None] = {}
        self._prices = PretrainingPrices(plan, store)
        self._measurements = Measurements(store)

    def folder(self, key: str) -> StageFolder:
        return self.store.stage(self.plan.stages[key].kind, key)

    def record(self, key: str) -> StageRecord | None:
        if key not in self._records:
            self._records[key] = self.folder(key).done()
        return self._records[key]

    def measured_elsewhere(self, key: str, device: str) -> StageRecord | None:
        """The record of the same tuning on a device, by a worker of other threads than this plan's."""
        records = self._measurements.of(self.plan.stages[key].spec)
        return next((record for record in records if record.environment.device == device), None)

    def pretraining(self, recipe: PreTraining | None, calibration: str | None, record: TrainingRecord) -> Hours | None:
        """Estimated device-hours of a pre-training on the device that a cell ran on."""
        return self._prices.hours(recipe, calibration, record.environment.device, record.cost.devices)


def epochs_of(plan: Plan, cell: Cell) -> int | None:
    """Epochs of a cell's training."""
    spec = plan.stages[cell.stage].spec
    return spec.recipe.epochs if isinstance(spec, TrainingSpec) else None


def grid_position(plan: Plan, cell: Cell) -> Row:
    """The columns that say where a cell stands in the grid, and the key of its stage."""
    return {
        "arm": cell.arm,
        "row": cell.row,
        "ladder": cell.ladder,
        "method": cell.method,
        "earlier_methods": _earlier_methods(plan, cell.arm),
        "data": cell.data,
        "student": cell.student,
        "teacher": cell.teacher,
        "adapt": cell.state,
        "seed": cell.seed,
        "key": cell.stage,
    }


def _earlier_methods(plan: Plan, arm: str) -> str | None:
    """Methods of the arms that an arm's student went through before, the first one first; None without any."""
    arms, methods = plan.suite.arms, list[str]()
    while (arm := arms[arm].start or "") in arms:
        methods.append(arms[arm].method)
    return " + ".join(reversed(methods)) or None


def _outcome(cell: Cell, reader: _Reader) -> Row:
    stage, folder = reader.plan.stages[cell.stage], reader.folder(cell.stage)
    record = read_record(folder, TrainingRecord)
    if record is None or saw_other_test(stage, folder):
        return _failure(stage, reader)
    return {
        "status": "done",
        **_measurements(record, _own_costs(record, reader)),
        **metric_values(folder, record, reader.metrics),
        **answer_metrics(folder, record),
        **_pretraining(cell, record, reader),
        **_shared_costs(stage, reader, record.chosen.key if record.chosen else None),
        "trials": len(cell.trials) or None,
        "teacher_accuracy": _teacher_accuracy(stage, reader),
        **_pair(record),
    }


def _failure(stage: Stage, reader: _Reader) -> Row:
    """The failure of a cell without a record, or of a stage that it needs; empty where there was none."""
    for key in (stage.key, *reader.plan.dependencies(stage.key)):
        state = reader.folder(key).read_state()
        if state.status == "failed":
            return {"status": "failed", "reason": state.reason}
    return {}


def _own_costs(record: TrainingRecord, reader: _Reader) -> list[Cost]:
    """The cost of a cell: of its record, and of a search also that of the chosen trial, which has trained it."""
    if record.chosen is None:
        return [record.cost]
    trial = reader.record(record.chosen.key)
    if trial is None:
        raise StoreError(f"trial {record.chosen.key[:16]}, which was chosen, is gone; run the suite again")
    return [trial.cost, record.cost]


def _measurements(record: TrainingRecord, costs: Sequence[Cost]) -> Row:
    metrics, joules = record.metrics, [cost.energy_joules for cost in costs]
    known = [each for each in joules if each is not None]
    return {
        "accuracy": metrics.test_accuracy,
        "validation_accuracy": metrics.validation_accuracy,
        "chosen_epoch": metrics.chosen_epoch,
        "test_images": metrics.test_count,
        "train_images": record.data.train,
        "validation_images": record.data.validation,
        "unit": record.cost.unit,
        "own_hours": sum(cost.alone_device_hours for cost in costs),
        "here_hours": sum(cost.device_hours for cost in costs),
        "cohort": max(cost.cohort for cost in costs),
        "energy_joules": sum(known) if len(known) == len(joules) else None,
        "peak_bytes": max((cost.peak_bytes for cost in costs if cost.peak_bytes is not None), default=None),
        "flops": record.model.flops,
        "parameters": record.model.parameters,
        "device": record.environment.device,
        "reference_seconds": record.environment.reference_seconds,
        "weights_sha256": record.weights_sha256,
        "test_correct": metrics.test_correct or None,
    }


def _shared_costs(stage: Stage, reader: _Reader, chosen: str | None) -> Row:
    """Costs of the stages that a cell needs, without pre-training: in full, and divided by the cells that need them.

    Without the trial that was `chosen`, whose cost is the cell's own.
    """
    total_hours = shared_hours = search_hours = 0.0
    total_joules: float | None = 0.0
    shared_joules: float | None = 0.0
    parts = reader.parts[stage.key]
    for key in reader.dependencies[stage.key]:  # in this order: sums of floats depend on it
        in_full = key in parts.chain or key in parts.trials
        if key == chosen or not (in_full or key in parts.shared):
            continue
        cost, users = _dependency_cost(stage, key, reader), 1 if in_full else reader.users[key]
        if cost is None:
            continue
        hours = cost.alone_device_hours if in_full else cost.device_hours
        search_hours += hours if key in parts.trials else 0.0
        total_hours += hours
        shared_hours += hours / users
        if cost.energy_joules is None or total_joules is None or shared_joules is None:
            total_joules = shared_joules = None
        else:
            total_joules += cost.energy_joules
            shared_joules += cost.energy_joules / users
    return {
        "stage_hours": total_hours,
        "shared_stage_hours": shared_hours,
        "search_hours": search_hours,
        "stage_joules": total_joules,
        "shared_stage_joules": shared_joules,
    }


def _dependency_cost(stage: Stage, key: str, reader: _Reader) -> Cost | None:
    """The cost of a stage that a cell needs; None for the tuning of another device that is not in this store."""
    record = reader.record(key)
    if record is None and reader.plan.stages[key].kind == "tuning":
        cell = reader.record(stage.key)
        record = reader.measured_elsewhere(key, cell.environment.device) if cell else None
        return None if record is None else record.cost
    if record is None:
        raise StoreError(f"{reader.folder(stage.key).path} needs stage {key[:16]}, which is gone; run the suite again")
    return record.cost


def _teacher_accuracy(stage: Stage, reader: _Reader) -> float | None:
    keys = [key for role, key in stage.needs.items() if role.startswith("teacher")]
    records = [reader.record(key) for key in keys]
    adapted = [record for record in records if isinstance(record, TrainingRecord) and record.kind == "teacher"]
    accuracies = [record.metrics.test_accuracy for record in adapted if record.metrics.test_accuracy is not None]
    return sum(accuracies) / len(accuracies) if accuracies else None


def _pair(record: TrainingRecord) -> Row:
    """Student and teachers side by side: parameters, families, and how alike their embeddings are."""
    similarity = record.metrics.similarity
    row: Row = {"teacher_parameters": sum(teacher.parameters for teacher in record.teachers) or None}
    if similarity is None:
        return row
    families = {"family": similarity.family, "teacher_family": "+".join(similarity.teacher_families)}
    likeness = {"similarity_start": _mean(similarity.start), "similarity_end": _mean(similarity.end)}
    return row | families | likeness


def _mean(values: Collection[float | None]) -> float | None:
    """None where one of them is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _pretraining(cell: Cell, record: TrainingRecord, reader: _Reader) -> Row:
    """Pre-training of the student, with the range of an estimate, and of the teachers."""
    stage, parts = reader.plan.stages[cell.stage], reader.parts[cell.stage]
    student: Hours | None = Hours(0.0, 0.0, 0.0)
    basis = None
    if parts.pretraining:
        student, basis = Hours(*[_measured_hours(stage, parts.pretraining, reader)] * 3), "measured"
    elif cell.public_start:
        student, basis = reader.pretraining(cell.pretraining, cell.calibration, record), "estimated"
    low_high = (None, None) if student is None else (student.low, student.high)
    return {
        "pretraining_hours": student.estimate if student else None,
        "pretraining_basis": basis if student else None,
        "pretraining_joules": _measured_joules(stage, parts.pretraining, reader) if basis != "estimated" else None,
        "pretraining_low_hours": low_high[0],
        "pretraining_high_hours": low_high[1],
        **_teacher_pretraining(cell, record, reader),
    }


def _teacher_pretraining(cell: Cell, record: TrainingRecord, reader: _Reader) -> Row:
    """Measured and estimated hours of the teachers' pre-training; None where some are not known."""
    suite, stage = reader.plan.suite, reader.plan.stages[cell.stage]
    measured = _measured_hours(stage, reader.parts[cell.stage].teacher_pretraining, reader)
    weights = [suite.teachers[teacher].weights for teacher in cell.teachers]
    public = any(each is None or each.pretraining is None for each in weights) and cell.state != "scratch"
    if not public:
        basis = "measured" if measured else None
        return {"teacher_pretraining_hours": measured, "teacher_pretraining_basis": basis}
    estimated = [reader.pretraining(recipe, key, record) for recipe, key in cell.teacher_pretraining]
    known = [hours.estimate for hours in estimated if hours is not None]
    if not suite.price_teachers or len(known) < len(estimated):
        return {"teacher_pretraining_hours": None, "teacher_pretraining_basis": None}
    return {"teacher_pretraining_hours": measured + sum(known), "teacher_pretraining_basis": "estimated"}


def _measured_joules(stage: Stage, keys: Collection[str], reader: _Reader) -> float | None:
    """Energy of stages that a cell needs, in full; None where it was not measured for all."""
    costs = [_dependency_cost(stage, key, reader) for key in reader.plan.stages if key in keys]
    joules = [cost.energy_joules for cost in costs if cost is not None]
    known = [each for each in joules if each is not None]
    return sum(known) if len(known) == len(joules) else None


def _measured_hours(stage: Stage, keys: Collection[str], reader: _Reader) -> float:
    """Device-hours of stages that a cell needs, in full."""
    costs = [_dependency_cost(stage, key, reader) for key in reader.plan.stages if key in keys]
    return sum(cost.device_hours for cost in costs if cost is not None)
