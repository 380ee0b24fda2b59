"""A small suite whose results are written by hand, in the files that workers leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchbench.plan.model import Cell, Plan
from benchbench.reports.results import results_frame
from benchbench.store import StageFolder, Store, write_json

PRETRAINING = {"images": 36_000, "epochs": 10, "image_size": 32, "source": "a paper"}
STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}, "pretraining": PRETRAINING}


@dataclass
class Lab:
    """A plan and a store in which tests finish and fail stages."""

    plan: Plan
    store: Store

    def folder(self, key: str) -> StageFolder:
        return self.store.stage(self.plan.stages[key].kind, key)

    def cells(self, arm: str, **where: Any) -> list[Cell]:
        """Cells of an arm, in the order of their seeds, where their attributes have these values."""
        return [c for c in self.plan.cells if c.arm == arm and all(getattr(c, k) == v for k, v in where.items())]

    def finish(self, key: str, accuracy: float = 0.5, hours: float = 1.0, correct: Any = (), **changes: Any) -> None:
        """Leaves what `stages/train.py` and the worker write for a training stage; changes are of its cost.

        The bits are there where `correct` says which of the 1,000 test images are right.
        """
        folder = self.folder(key)
        for needed in self.plan.foundations(key):  # what a frozen network says has cost nothing worth speaking of
            if self.plan.stages[needed].kind == "outputs" and self.folder(needed).done() is None:
                self.finish(needed, hours=0.0)
        record = {
            "metrics": {
                "test_accuracy": accuracy,
                "test_count": 1000,
                "test_correct": np.packbits(np.asarray(correct, bool)).tobytes().hex(),
                "chosen_epoch": 1,
                "validation_accuracy": None,
            },
            "cost": {
                "seconds": {"train": hours * 3600},
                "devices": 1,
                "unit": "GPU-hours",
                "device_hours": hours,
                "alone_seconds": {"train": hours * 3600},
                "alone_device_hours": hours,
                "cohort": 1,
                "images": 40,
                "peak_bytes": 500_000_000,
                "energy_joules": None,
            },
            "data": {"names": ["a", "b"], "train": 40, "validation": 0, "test": 1000},
            "model": {"parameters": 123, "flops": 4_000_000_000},
            "teachers": [],
            "weights_sha256": "ab" * 32,
            "key": key,
            "label": self.plan.stages[key].label,
            "environment": {"device": "Big GPU"},
        }
        folder.path.mkdir(parents=True, exist_ok=True)
        write_json(
            folder.record, {name: {**part, **changes} if name == "cost" else part for name, part in record.items()}
        )

    def finish_arm(self, arm: str, accuracies: list[float], hours: list[float] | None = None, **where: Any) -> None:
        """Finishes the first cells of an arm with these accuracies."""
        hours = hours or [1.0] * len(accuracies)
        for cell, accuracy, each in zip(self.cells(arm, **where), accuracies, hours, strict=False):
            self.finish(cell.stage, accuracy, each)

    def calibrate(self, images_per_second: float, devices: int = 1, device: str = "Big GPU") -> None:
        """Leaves what `stages/calibrate.py` writes, for every student that is calibrated."""
        for key, stage in self.plan.stages.items():
            if stage.kind == "calibration":
                self.folder(key).path.mkdir(parents=True, exist_ok=True)
                metrics = {"images_per_second": images_per_second}
                cost = {"devices": devices, "unit": "GPU-hours", "device_hours": 0.01}
                record = {"metrics": metrics, "cost": cost, "environment": {"device": device}}
                write_json(self.folder(key).record, record)
                write_json(self.folder(key).spec, {"job": stage.job})

    def teach(self) -> None:
        """Finishes every stage that adapts a teacher."""
        for key, stage in self.plan.stages.items():
            if stage.kind == "teacher":
                self.finish(key)

    def teacher(self) -> str:
        """The key of the only stage that adapts a teacher."""
        (key,) = (key for key, stage in self.plan.stages.items() if stage.kind == "teacher")
        return key

    def fail(self, key: str, reason: str) -> None:
        self.folder(key).path.mkdir(parents=True, exist_ok=True)
        write_json(self.folder(key).state, {"status": "failed", "reason": reason})

    def frame(self) -> pd.DataFrame:
        return results_frame(self.plan, self.store)


@pytest.fixture
def make_lab(tmp_path, tiny_suite, plan_of) -> Callable[..., Lab]:
    """A lab for the tiny suite with every method and three seeds; keywords change the suite's top level."""

    def make(*overrides: str, **changes: Any) -> Lab:
        arms = {
            "scratch": {"method": "scratch"},
            "probe": {"method": "linear_probe"},
            "tune": {"method": "finetune"},
            "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        }
        suite = {"seeds": [0, 1, 2], "students": {"small": STUDENT}, "arms": arms}
        path: Path = tiny_suite(tmp_path, **(suite | changes))
        (tmp_path / "weights.bin").write_bytes(b"weights")
        store = Store(tmp_path / "runs")
        store.open()
        return Lab(plan_of(path, *overrides), store)

    return make


@pytest.fixture
def lab(make_lab) -> Lab:
    return make_lab()


@pytest.fixture
def finished(lab) -> Lab:
    """All done: accuracies and hours that differ by arm, a teacher of 6 hours, pre-training of 2 hours."""
    lab.finish(lab.teacher(), accuracy=0.9, hours=6.0)
    lab.finish_arm("scratch", [0.5, 0.6, 0.9], [1.0, 2.0, 3.0])
    lab.finish_arm("probe", [0.4, 0.4, 0.4], [0.5, 0.5, 0.5])
    lab.finish_arm("tune", [0.7, 0.8, 0.9], [4.0, 4.0, 4.0])
    lab.finish_arm("distil", [0.6, 0.7, 0.8], [3.0, 3.0, 3.0])
    lab.calibrate(images_per_second=50.0)
    return lab
