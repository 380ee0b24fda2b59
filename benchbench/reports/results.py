"""A plan's results as one frame: a row a cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from benchbench.costs.pricing import Hours, pretraining_hours
from benchbench.errors import StoreError, one_line
from benchbench.plan.model import PRETRAINED_METHODS, Cell, Plan
from benchbench.store import Store
from benchbench.suite.schema import PreTraining

COLUMNS = {
    "arm": "the suite's arm",
    "row": "its row in the tables: the arm, with teacher and state for distillation",
    "method": "scratch, linear_probe, finetune, published or distill",
    "data": "data set",
    "student": "student",
    "teacher": "teacher; several that teach together are joined by +",
    "adapt": "state of the teacher",
    "seed": "training seed",
    "status": "done, failed or missing",
    "reason": "why it failed",
    "accuracy": "test accuracy, 0..1",
    "validation_accuracy": "of the chosen epoch, where there is a validation split",
    "chosen_epoch": "epoch whose weights were tested",
    "test_images": "images in the test split",
    "train_images": "distinct training images",
    "validation_images": "held out of them",
    "unit": "GPU-hours or CPU-hours",
    "own_hours": "device-hours of the cell's own training, testing and set-up, as if it had trained alone",
    "here_hours": "what it took here, where cells that trained side by side shared batches and teachers",
    "cohort": "cells that trained side by side with it, itself included",
    "stage_hours": "device-hours of the stages it stands on (adapting and running the teacher, tuning), in full",
    "shared_stage_hours": "the same, divided by the cells of this suite that share them",
    "pretraining_hours": "estimated device-hours of the student's public pre-training; empty where unknown",
    "pretraining_low_hours": "the same at the upper quartile of the measured throughput",
    "pretraining_high_hours": "the same at its lower quartile",
    "teacher_pretraining_hours": "estimate for the teachers' public weights; empty where unknown or not asked for",
    "teacher_accuracy": "test accuracy of the adapted teacher; the mean where several teach together",
    "energy_joules": "energy of the cell itself; empty where it was not measured",
    "shared_stage_joules": "of the stages it stands on, divided by the cells of this suite that share them; likewise",
    "peak_bytes": "most memory held: allocated on a GPU, else resident in its worker, with those beside it",
    "flops": "floating-point operations of the student's forward pass of one image",
    "parameters": "of the student",
    "device": "what it ran on",
    "key": "key of its stage",
    "weights_sha256": "of its weights file",
    "test_correct": "which test images it got right: numpy.packbits as hex; left out of results.csv and --json",
}


def results_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Every cell of a plan with what the store knows of it; columns as in `COLUMNS`.

    A cell whose record cannot be read counts as failed.
    """
    stands_on = {cell.stage: plan.foundations(cell.stage) for cell in plan.cells}
    shared = _Shared(store, plan, stands_on, Counter(key for cell in plan.cells for key in stands_on[cell.stage]))
    rows = []
    for cell in plan.cells:
        try:
            rows.append(_row(cell, plan, store, shared))
        except (StoreError, KeyError, TypeError, ValueError, AttributeError) as error:
            folder = store.stage("cell", cell.stage).path
            known = str(error) if isinstance(error, StoreError) else ""
            reason = known or f"{folder} holds a damaged record ({one_line(error)}); delete it and run again"
            rows.append({**_place(cell), "status": "failed", "reason": reason})
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass
class _Shared:
    """Records that many cells ask for, each read once.

    Attributes:
        stands_on: keys of the stages that each cell's stage stands on.
        users: cells that stand on each stage.
    """

    store: Store
    plan: Plan
    stands_on: dict[str, list[str]]
    users: Counter[str]
    _records: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _hours: dict[tuple[Any, ...], Hours | None] = field(default_factory=dict)

    def record(self, key: str) -> dict[str, Any] | None:
        if key not in self._records:
            self._records[key] = self.store.stage(self.plan.stages[key].kind, key).done()
        return self._records[key]

    def pretraining(
        self, recipe: PreTraining | None, calibration: str | None, device: str, held: float
    ) -> Hours | None:
        asked = (recipe.samples if recipe else None, calibration, device, held)
        if asked not in self._hours:
            self._hours[asked] = pretraining_hours(recipe, calibration, self.plan, self.store, device, held)
        return self._hours[asked]


def readable(results: pd.DataFrame) -> pd.DataFrame:
    """What results.csv and --json show: all but the bits, which are longer than the rest and stay in the records."""
    return results.drop(columns="test_correct")


def _place(cell: Cell) -> dict[str, Any]:
    """Where a cell stands in the grid."""
    names = ("arm", "row", "method", "data", "student", "teacher", "adapt", "seed")
    return {name: getattr(cell, name) for name in names} | {"key": cell.stage}


def _row(cell: Cell, plan: Plan, store: Store, shared: _Shared) -> dict[str, Any]:
    stage = plan.stages[cell.stage]
    folder = store.stage(stage.kind, stage.key)
    row = _place(cell) | {"status": "missing"}
    record = folder.done()
    if record is None:
        return row | _why(plan, store, cell)
    metrics, cost, environment = record["metrics"], record["cost"], record["environment"]
    row |= {
        "status": "done",
        "accuracy": metrics["test_accuracy"],
        "validation_accuracy": metrics["validation_accuracy"],
        "chosen_epoch": metrics["chosen_epoch"],
        "test_images": metrics["test_count"],
        "train_images": record["data"]["train"],
        "validation_images": record["data"]["validation"],
        "unit": cost["unit"],
        "own_hours": cost["alone_device_hours"],
        "here_hours": cost["device_hours"],
        "cohort": cost["cohort"],
        "stage_hours": 0.0,
        "shared_stage_hours": 0.0,
        "shared_stage_joules": 0.0,
        **{name: cost.get(name) for name in ("energy_joules", "peak_bytes")},
        "flops": record["model"].get("flops"),
        "parameters": record["model"]["parameters"],
        "device": environment["device"],
        "weights_sha256": record["weights_sha256"],
        "test_correct": _bits(metrics),
        **_pretraining(cell, plan, shared, environment["device"], cost["devices"]),
    }
    users = shared.users
    for key in shared.stands_on[stage.key]:
        needed = shared.record(key)
        if needed is None and plan.stages[key].kind == "tuning":  # of another device: the cell ran elsewhere
            continue
        if needed is None:
            raise StoreError(f"{folder.path} stands on stage {key[:16]}, which is gone; run the suite again")
        row["stage_hours"] += needed["cost"]["device_hours"]
        row["shared_stage_hours"] += needed["cost"]["device_hours"] / users[key]
        joules = needed["cost"].get("energy_joules")
        known = row["shared_stage_joules"] is not None and joules is not None
        row["shared_stage_joules"] = row["shared_stage_joules"] + joules / users[key] if known else None
    taught = [key for role, key in stage.needs.items() if role.startswith("teacher")]
    records = [shared.record(key) or {} for key in taught]
    accuracies = [record["metrics"]["test_accuracy"] for record in records]
    row["teacher_accuracy"] = sum(accuracies) / len(accuracies) if accuracies else None
    return row


def _bits(metrics: dict[str, Any]) -> str | None:
    packed = metrics.get("test_correct")
    if not packed:
        return None
    images, wanted = metrics["test_count"], -(-metrics["test_count"] // 8)
    if len(bytes.fromhex(packed)) != wanted:
        raise ValueError(f"test_correct is not {wanted} bytes for {images} images")
    return packed


def _why(plan: Plan, store: Store, cell: Cell) -> dict[str, Any]:
    """Why a cell has no record: its own failure, or that of a stage it needs."""
    stage = plan.stages[cell.stage]
    for key in (stage.key, *plan.foundations(stage.key)):
        state = store.stage(plan.stages[key].kind, key).read_state()
        if state.get("status") == "failed":
            return {"status": "failed", "reason": state.get("reason")}
    return {}


def _pretraining(cell: Cell, plan: Plan, shared: _Shared, device: str, held: float) -> dict[str, float | None]:
    """Estimated pre-training of the student, with its range, and of the teachers."""
    names = ("pretraining_hours", "pretraining_low_hours", "pretraining_high_hours")
    own: tuple[float | None, ...] | None = (0.0, 0.0, 0.0)
    if cell.method in PRETRAINED_METHODS:
        own = shared.pretraining(cell.pretraining, cell.calibration, device, held)
    taught = [shared.pretraining(recipe, key, device, held) for recipe, key in cell.taught_by]
    priced = not cell.teachers or cell.adapt == "scratch" or (plan.suite.price_teachers and None not in taught)
    teachers = sum(each[0] for each in taught if each) if priced else None
    return dict(zip(names, own or (None, None, None), strict=True)) | {"teacher_pretraining_hours": teachers}
