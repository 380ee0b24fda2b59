"""A small suite's plan with invented results and records; nothing is run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.components import Registry
from benchbench.hardware.devices import Devices
from benchbench.planning.expand import make_plan
from benchbench.planning.model import Cell, Plan
from benchbench.plugins import load_plugins
from benchbench.specs.parts import Json
from benchbench.specs.records import Cost, DataRecord, Environment, ModelRecord, TrainingMetrics, TrainingRecord
from benchbench.store import Store
from benchbench.suite.file import load_suite

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, str | float | None]
PRETRAINING: Json = {"images": 1_281_167, "epochs": 90, "image_size": 64, "source": "a made-up recipe"}
SUITE: Json = {
    "name": "sample",
    "seeds": [0, 1, 2],
    "data": {"cifar": {"source": "cifar10_subset"}, "tenth": {"source": "cifar10_subset", "fraction": 0.1}},
    "students": {
        "small": {"model": "timm/test_efficientnet", "weights": "pretrained", "pretraining": PRETRAINING},
        "tiny": {"model": "timm/test_vit", "weights": "pretrained", "pretraining": PRETRAINING},
    },
    "teachers": {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}},
    "recipes": {"default": {"epochs": 2, "image_size": 64, "precision": "exact"}},
    "arms": {
        "scratch": {"method": "scratch"},
        "linear probe": {"method": "linear_probe"},
        "pre-train + fine-tune": {"method": "finetune"},
        "KD": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
    },
}


def sample_plan(registry: Registry | None = None) -> Plan:
    """Two data sets x two students x four arms x three seeds, and one teacher."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.yaml"
        path.write_text(json.dumps(SUITE), encoding="utf-8")  # JSON is YAML
        devices = Devices("cpu", "a processor", ("0",), 1)
        return make_plan(load_suite(path), registry or load_plugins().registry, devices, Path(folder))


def sample_results(plan: Plan) -> pd.DataFrame:
    """One row per cell, columns as in `results.csv`; the first cell failed, the last has not been run."""
    rows = [_position(plan, cell) for cell in plan.cells]
    for index, cell in enumerate(plan.cells[1:-1], 1):
        rows[index] |= _done(plan, cell, index)
    rows[0] |= {"status": "failed", "reason": "its worker process was killed by SIGKILL"}
    return _frame(rows)


def missing_results(plan: Plan) -> pd.DataFrame:
    """The same grid before anything has run."""
    return _frame([_position(plan, cell) for cell in plan.cells])


def empty_results() -> pd.DataFrame:
    """No row at all, and every column."""
    return _frame([])


def _frame(rows: list[Row]) -> pd.DataFrame:
    import pandas as pd

    from benchbench.reports.columns import COLUMNS

    return pd.DataFrame(rows, columns=list(COLUMNS))


def sample_record() -> TrainingRecord:
    """The record of a trained cell."""
    seconds = {"setup": 1.0, "student": 90.0, "evaluation": 2.0}
    hours = sum(seconds.values()) / 3600
    return TrainingRecord(
        kind="cell",
        metrics=TrainingMetrics(test_accuracy=0.625, test_count=1000, chosen_epoch=1, validation_accuracy=0.6),
        cost=Cost(
            seconds=seconds,
            alone_seconds=seconds,
            devices=1,
            unit="CPU-hours",
            device_hours=hours,
            alone_device_hours=hours,
            images=2000,
            peak_bytes=500_000_000,
        ),
        data=DataRecord(names=("cat", "dog"), train=1000, test=1000),
        model=ModelRecord(parameters=360_000, flops=2_000_000),
        environment=Environment(device="a processor"),
        weights_sha256="ab" * 32,
    )


def sample_store(plan: Plan, folder: Path) -> None:
    """Writes records and curves of the cells that are done in `sample_results`."""
    store = Store(folder)
    store.open()
    for index, cell in enumerate(plan.cells[1:-1]):
        stage = store.stage("cell", cell.stage)
        stage.path.mkdir(parents=True, exist_ok=True)
        curve = [{"epoch": epoch, "loss": 2 / epoch, "train_accuracy": 0.3 + index % 7 / 50} for epoch in (1, 2)]
        stage.write_record(sample_record().model_copy(update={"key": cell.stage}), curve)


def _position(plan: Plan, cell: Cell) -> Row:
    from benchbench.reports.results import grid_position

    return grid_position(plan, cell) | {"status": "missing"}


def _done(plan: Plan, cell: Cell, index: int) -> Row:
    info = plan.info[cell.data]
    starts_pretrained = cell.method in ("linear_probe", "finetune")
    right = round((0.4 + (index * 37 % 100) / 250) * info.test)
    return {
        "status": "done",
        "accuracy": right / info.test,
        "validation_accuracy": 0.4 + (index * 31 % 100) / 250,
        "epochs": 2,
        "chosen_epoch": 2,
        "test_images": info.test,
        "train_images": info.train,
        "validation_images": 0,
        "unit": "CPU-hours",
        "own_hours": 0.5 + index / 100,
        "here_hours": 0.4 + index / 100,
        "cohort": 2,
        "stage_hours": 2.0 if cell.teacher else 0.0,
        "shared_stage_hours": 2.0 / 12 if cell.teacher else 0.0,
        "search_hours": 0.0,
        "pretraining_hours": 6000.0 if starts_pretrained else 0.0,
        "pretraining_low_hours": 5500.0 if starts_pretrained else 0.0,
        "pretraining_high_hours": 6500.0 if starts_pretrained else 0.0,
        "pretraining_basis": "estimated" if starts_pretrained else None,
        "teacher_pretraining_hours": 0.0,
        "teacher_accuracy": 0.9 if cell.teacher else None,
        "energy_joules": 3.6e5,
        "stage_joules": 3.6e4 * 12 if cell.teacher else 0.0,
        "shared_stage_joules": 3.6e4 if cell.teacher else 0.0,
        "peak_bytes": 500_000_000,
        "flops": 2_000_000,
        "parameters": 360_000,
        "teacher_parameters": 1_440_000 if cell.teacher else None,
        "family": "resnet" if cell.teacher else None,
        "teacher_family": "vgg" if cell.teacher else None,
        "similarity_start": 0.2 if cell.teacher else None,
        "similarity_end": 0.6 if cell.teacher else None,
        "device": "a processor",
        "reference_seconds": 0.02,
        "weights_sha256": "ab" * 32,
        "test_correct": _bits(right, info.test, index),
    }


def _bits(right: int, count: int, index: int) -> str:
    """So many right answers, to other images for each cell."""
    import numpy as np

    return np.packbits((np.arange(count) * 7 + index * 13) % count < right).tobytes().hex()
