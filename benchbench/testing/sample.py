"""A small suite's plan, its results and a stage's record, made up without running anything."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.hardware.devices import Devices
from benchbench.plan.expand import make_plan
from benchbench.plan.model import Cell, Plan
from benchbench.plugins import PluginHost, load_plugins
from benchbench.store import Store, write_json
from benchbench.suite.file import load_suite

if TYPE_CHECKING:
    import pandas as pd

PRETRAINING = {"images": 1_281_167, "epochs": 90, "image_size": 64, "source": "a made-up recipe"}
SUITE: dict[str, Any] = {
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


def sample_plan(host: PluginHost | None = None) -> Plan:
    """Two data sets x two students x four arms x three seeds, and one teacher."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.yaml"
        path.write_text(json.dumps(SUITE), encoding="utf-8")  # JSON is YAML
        devices = Devices("cpu", "a processor", ("0",), 1)
        return make_plan(load_suite(path), host or load_plugins(), devices, Path(folder))


def sample_results(plan: Plan) -> pd.DataFrame:
    """A row a cell, columns as in `results.csv`; the first cell failed, the last has not been run."""
    import pandas as pd

    from benchbench.reports.results import COLUMNS

    rows = []
    for number, cell in enumerate(plan.cells):
        row = _place(cell, list(COLUMNS))
        if number == 0:
            row |= {"status": "failed", "reason": "its worker process was killed by SIGKILL"}
        elif number < len(plan.cells) - 1:
            row |= _done(plan, cell, number)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def missing_results(plan: Plan) -> pd.DataFrame:
    """The same grid before anything has run."""
    import pandas as pd

    from benchbench.reports.results import COLUMNS

    return pd.DataFrame([_place(cell, list(COLUMNS)) for cell in plan.cells], columns=list(COLUMNS))


def empty_results() -> pd.DataFrame:
    """No row at all, and every column."""
    import pandas as pd

    from benchbench.reports.results import COLUMNS

    return pd.DataFrame([], columns=list(COLUMNS))


def sample_record() -> dict[str, Any]:
    """What a training stage leaves behind, its longest parts left out."""
    return {
        "metrics": {
            "test_accuracy": 0.625,
            "test_count": 1000,
            "test_correct": "",
            "chosen_epoch": 1,
            "validation_accuracy": 0.6,
        },
        "cost": {
            "seconds": {"set-up": 1.0, "train": 90.0, "test": 2.0},
            "devices": 1,
            "unit": "CPU-hours",
            "device_hours": 0.0258,
            "alone_seconds": {"set-up": 1.0, "train": 90.0, "test": 2.0},
            "alone_device_hours": 0.0258,
            "cohort": 1,
            "images": 2000,
            "peak_bytes": 500_000_000,
            "energy_joules": None,
        },
        "data": {"names": ["cat", "dog"], "train": 1000, "validation": 0, "test": 1000},
        "model": {"parameters": 360_000, "flops": 2_000_000},
        "weights_sha256": "ab" * 32,
        "environment": {"device": "a processor"},
    }


def sample_store(plan: Plan, folder: Path) -> None:
    """Writes what there is of the cells that `sample_results` says are done: their records and curves."""
    store = Store(folder)
    store.open()
    for number, cell in enumerate(plan.cells[1:-1]):
        stage = store.stage("cell", cell.stage)
        stage.path.mkdir(parents=True, exist_ok=True)
        write_json(stage.record, sample_record())
        rows = [{"epoch": epoch, "loss": 2 / epoch, "train_accuracy": 0.3 + number % 7 / 50} for epoch in (1, 2)]
        stage.curve.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _place(cell: Cell, columns: list[str]) -> dict[str, Any]:
    place = {name: getattr(cell, name) for name in columns if hasattr(cell, name)}
    return place | {"key": cell.stage, "status": "missing"}


def _done(plan: Plan, cell: Cell, number: int) -> dict[str, Any]:
    info = plan.info[cell.data]
    starts_pretrained = cell.method in ("linear_probe", "finetune")
    right = round((0.4 + (number * 37 % 100) / 250) * info.test)
    return {
        "status": "done",
        "accuracy": right / info.test,
        "validation_accuracy": 0.4 + (number * 31 % 100) / 250,
        "chosen_epoch": 2,
        "test_images": info.test,
        "train_images": info.train,
        "validation_images": 0,
        "unit": "CPU-hours",
        "own_hours": 0.5 + number / 100,
        "here_hours": 0.4 + number / 100,
        "cohort": 2,
        "stage_hours": 2.0 if cell.teacher else 0.0,
        "shared_stage_hours": 2.0 / 12 if cell.teacher else 0.0,
        "pretraining_hours": 6000.0 if starts_pretrained else 0.0,
        "pretraining_low_hours": 5500.0 if starts_pretrained else 0.0,
        "pretraining_high_hours": 6500.0 if starts_pretrained else 0.0,
        "teacher_pretraining_hours": 0.0,
        "teacher_accuracy": 0.9 if cell.teacher else None,
        "energy_joules": 3.6e5,
        "shared_stage_joules": 3.6e4 if cell.teacher else 0.0,
        "peak_bytes": 500_000_000,
        "flops": 2_000_000,
        "parameters": 360_000,
        "device": "a processor",
        "weights_sha256": "ab" * 32,
        "test_correct": _bits(right, info.test, number),
    }


def _bits(right: int, count: int, number: int) -> str:
    """So many right answers, to other images for each cell."""
    import numpy as np

    return np.packbits((np.arange(count) * 7 + number * 13) % count < right).tobytes().hex()
