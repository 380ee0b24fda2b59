"""A plan's results as one frame, one row per cell."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import pandas as pd

from benchbench.costs.pricing import Hours, PretrainingPrices
from benchbench.errors import StoreError
from benchbench.planning.model import PRETRAINED_METHODS, Cell, Plan, Stage
from benchbench.specs.records import Cost, Record, StageRecord, TrainingMetrics, TrainingRecord
from benchbench.store import StageFolder, Store
from benchbench.suite.schema import PreTraining

COLUMNS = {
    "arm": "arm of the suite",
    "row": "row in the tables: the arm, with teacher and state for distillation",
    "method": "scratch, linear_probe, finetune, published or distill",
    "data": "data set",
    "student": "student",
    "teacher": "teacher; several in one cell are joined by +",
    "adapt": "state of the teacher",
    "seed": "training seed",
    "status": "done, failed or missing",
    "reason": "reason for the failure",
    "accuracy": "test accuracy, 0..1",
    "validation_accuracy": "validation accuracy of the chosen epoch, 0..1; empty without a validation split",
    "chosen_epoch": "epoch whose weights were tested",
    "test_images": "images in the test split",
    "train_images": "distinct training images",
    "validation_images": "images held out for validation",
    "unit": "GPU-hours or CPU-hours",
    "own_hours": "device-hours of the cell's own training, testing and set-up, as if it had trained alone",
    "here_hours": "device-hours in this run, where cells that train side by side share batches and teachers",
    "cohort": "number of cells that trained side by side, this one included",
    "stage_hours": "device-hours of the stages that the cell needs (adapting and running the teacher, tuning), in full",
    "shared_stage_hours": "the same, each divided by the cells of this suite that need it",
    "pretraining_hours": "estimated device-hours of the student's public pre-training; empty where unknown",
    "pretraining_low_hours": "the same at the upper quartile of the measured throughput",
    "pretraining_high_hours": "the same at its lower quartile",
    "teacher_pretraining_hours": "estimate for the teachers' public weights; empty where unknown or not asked for",
    "teacher_accuracy": "test accuracy of the adapted teacher; the mean of several",
    "energy_joules": "energy of the cell itself; empty where it was not measured",
    "shared_stage_joules": "energy of the stages that it needs, each divided by the cells of this suite that need it",
    "peak_bytes": "peak memory, with cells beside it: allocated on a GPU, else resident in the worker process",
    "flops": "floating-point operations of the student's forward pass of one image",
    "parameters": "parameters of the student",
    "device": "device of the run",
    "reference_seconds": "seconds of one reference step on that device, by which machines can be compared",
    "key": "key of the cell's stage",
    "weights_sha256": "sha256 of the weights file",
    "test_correct": "test images that are right, as bits (numpy.packbits, hex); left out of results.csv and --json",
}
Row = dict[str, str | float | None]
_Record = TypeVar("_Record", bound=Record)


def results_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """One row per cell of a plan, from its records in a store; columns as in `COLUMNS`.

    A cell whose record cannot be read counts as failed.
    """
    reader = _Reader(plan, store)
    rows = []
    for cell in plan.cells:
        row = grid_position(cell) | {"status": "missing"}
        try:
            rows.append(row | _outcome(cell, reader))
        except StoreError as error:
            rows.append(row | {"status": "failed", "reason": str(error)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def readable(results: pd.DataFrame) -> pd.DataFrame:
    """The columns of results.csv and --json: all but the bits, which are longer than the rest and stay in the store."""
    return results.drop(columns="test_correct")


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
        dependencies: keys of the stages that each cell's stage needs, directly or not.
        users: number of cells that need each stage.
    """

    def __init__(self, plan: Plan, store: Store):
        self.plan, self.store = plan, store
        self.dependencies = {cell.stage: plan.dependencies(cell.stage) for cell in plan.cells}
        self.users = Counter(key for cell in plan.cells for key in self.dependencies[cell.stage])
        self._records: dict[str, StageRecord | None] = {}
        self._prices = PretrainingPrices(plan, store)

    def folder(self, key: str) -> StageFolder:
        return self.store.stage(self.plan.stages[key].kind, key)

    def record(self, key: str) -> StageRecord | None:
        if key not in self._records:
            self._records[key] = self.folder(key).done()
        return self._records[key]

    def pretraining(self, recipe: PreTraining | None, calibration: str | None, record: TrainingRecord) -> Hours | None:
        """Estimated device-hours of a pre-training on the device that a cell ran on."""
        return self._prices.hours(recipe, calibration, record.environment.device, record.cost.devices)


def grid_position(cell: Cell) -> Row:
    """The columns that say where a cell stands in the grid, and the key of its stage."""
    return {
        "arm": cell.arm,
        "row": cell.row,
        "method": cell.method,
        "data": cell.data,
        "student": cell.student,
        "teacher": cell.teacher,
        "adapt": cell.state,
        "seed": cell.seed,
        "key": cell.stage,
    }


def _outcome(cell: Cell, reader: _Reader) -> Row:
    stage, folder = reader.plan.stages[cell.stage], reader.folder(cell.stage)
    record = read_record(folder, TrainingRecord)
    if record is None:
        return _failure(stage, reader)
    return {
        "status": "done",
        **_measurements(record, folder),
        **_pretraining(cell, record, reader),
        **_shared_costs(stage, reader),
        "teacher_accuracy": _teacher_accuracy(stage, reader),
    }


def _failure(stage: Stage, reader: _Reader) -> Row:
    """The failure of a cell without a record, or of a stage that it needs; empty where there was none."""
    for key in (stage.key, *reader.dependencies[stage.key]):
        state = reader.folder(key).read_state()
        if state.status == "failed":
            return {"status": "failed", "reason": state.reason}
    return {}


def _measurements(record: TrainingRecord, folder: StageFolder) -> Row:
    metrics, cost = record.metrics, record.cost
    return {
        "accuracy": metrics.test_accuracy,
        "validation_accuracy": metrics.validation_accuracy,
        "chosen_epoch": metrics.chosen_epoch,
        "test_images": metrics.test_count,
        "train_images": record.data.train,
        "validation_images": record.data.validation,
        "unit": cost.unit,
        "own_hours": cost.alone_device_hours,
        "here_hours": cost.device_hours,
        "cohort": cost.cohort,
        "energy_joules": cost.energy_joules,
        "peak_bytes": cost.peak_bytes,
        "flops": record.model.flops,
        "parameters": record.model.parameters,
        "device": record.environment.device,
        "reference_seconds": record.environment.reference_seconds,
        "weights_sha256": record.weights_sha256,
        "test_correct": _bits(metrics, folder),
    }


def _bits(metrics: TrainingMetrics, folder: StageFolder) -> str | None:
    packed, num_bytes = metrics.test_correct, -(-metrics.test_count // 8)
    if not packed:
        return None
    try:
        complete = len(bytes.fromhex(packed)) == num_bytes
    except ValueError:
        complete = False
    if not complete:
        content = f"test_correct is not {num_bytes} bytes in hex for {metrics.test_count} images"
        raise StoreError(f"{folder.path} holds a damaged record ({content}); delete it and run again")
    return packed


def _shared_costs(stage: Stage, reader: _Reader) -> Row:
    """Costs of the stages that a cell needs: in full, and divided by the cells that need them."""
    total_hours = shared_hours = 0.0
    shared_joules: float | None = 0.0
    for key in reader.dependencies[stage.key]:
        cost, users = _dependency_cost(stage, key, reader), reader.users[key]
        if cost is None:
            continue
        total_hours += cost.device_hours
        shared_hours += cost.device_hours / users
        if shared_joules is not None:
            shared_joules = None if cost.energy_joules is None else shared_joules + cost.energy_joules / users
    return {
        "stage_hours": total_hours,
        "shared_stage_hours": shared_hours,
        "shared_stage_joules": shared_joules,
    }


def _dependency_cost(stage: Stage, key: str, reader: _Reader) -> Cost | None:
    record = reader.record(key)
    if record is not None:
        return record.cost
    if reader.plan.stages[key].kind == "tuning":  # of another device: the cell ran elsewhere
        return None
    raise StoreError(f"{reader.folder(stage.key).path} needs stage {key[:16]}, which is gone; run the suite again")


def _teacher_accuracy(stage: Stage, reader: _Reader) -> float | None:
    keys = [key for role, key in stage.needs.items() if role.startswith("teacher")]
    records = [reader.record(key) for key in keys]
    accuracies = [record.metrics.test_accuracy for record in records if isinstance(record, TrainingRecord)]
    return sum(accuracies) / len(accuracies) if accuracies else None


def _pretraining(cell: Cell, record: TrainingRecord, reader: _Reader) -> Row:
    """Estimated pre-training of the student, with its range, and of the teachers."""
    names = ("pretraining_hours", "pretraining_low_hours", "pretraining_high_hours")
    student: Hours | None = Hours(0.0, 0.0, 0.0)
    if cell.method in PRETRAINED_METHODS:
        student = reader.pretraining(cell.pretraining, cell.calibration, record)
    teachers = [reader.pretraining(recipe, key, record) for recipe, key in cell.teacher_pretraining]
    price_teachers = reader.plan.suite.price_teachers and None not in teachers
    priced = not cell.teachers or cell.state == "scratch" or price_teachers
    total = sum(hours.median for hours in teachers if hours) if priced else None
    return {**dict(zip(names, student or (None, None, None), strict=True)), "teacher_pretraining_hours": total}
