"""A small suite whose stages are finished by hand, with the records that workers write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchbench.planning.model import Cell, Plan
from benchbench.reports.results import results_frame
from benchbench.specs.records import (
    Cost,
    DataRecord,
    Environment,
    ModelRecord,
    StageRecord,
    TrainingMetrics,
    TrainingRecord,
)
from benchbench.store import KEY_LENGTH, Claim, Claims, StageFolder, StageState, Store
from tests.specs import calibration_record, cost_record, outputs_record, training_record, tuning_record

PRETRAINING = {"images": 36_000, "epochs": 10, "image_size": 32, "source": "a paper"}
STUDENT = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}, "pretraining": PRETRAINING}


DEVICE = "Big GPU"


def cost_of(hours: float, **changes: Any) -> Cost:
    """Hours of training on one GPU."""
    for prefix in ("", "alone_"):
        if f"{prefix}seconds" not in changes:
            each = changes.setdefault(f"{prefix}device_hours", hours)
            changes[f"{prefix}seconds"] = {"train": each * 3600 / changes.get("devices", 1)}
    return cost_record(**{"unit": "GPU-hours", "images": 40, "peak_bytes": 500_000_000, **changes})


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

    @contextmanager
    def claimed(self, key: str) -> Iterator[None]:
        """A run, of this process, is at work on a stage."""
        with closing(Claims(self.store.root, "a run")) as claims:
            claim = claims.take(self.plan.stages[key].kind, key[:KEY_LENGTH])
            assert isinstance(claim, Claim)
            yield
            claims.release(claim, finished=False)

    def write(self, key: str, record: StageRecord) -> None:
        """Writes a record, and leaves the other files of its stage as they are."""
        self.folder(key).path.mkdir(parents=True, exist_ok=True)
        # Not by the store, which waits for the disk.
        content = json.dumps(record.model_dump(mode="json"), allow_nan=False)
        self.folder(key).record.write_text(content, encoding="utf-8")

    def record(self, key: str) -> Any:
        """The record of a finished stage."""
        record = self.folder(key).done()
        assert record is not None
        return record

    def change(self, key: str, part: str, **changes: Any) -> None:
        """Changes fields of one part of a record, as in `lab.change(key, "data", train=40)`."""
        record = self.record(key)
        self.write(key, record.model_copy(update={part: getattr(record, part).model_copy(update=changes)}))

    def finish(self, key: str, accuracy: float = 0.5, hours: float = 1.0, correct: Any = (), **changes: Any) -> None:
        """Writes the record of a stage that trains, runs or tunes a network; changes are of its cost.

        The bits are there where `correct` has a boolean for each of the 1,000 test images; then the accuracy is theirs.
        """
        accuracy = float(np.mean(correct)) if len(correct) else accuracy
        for needed in self.plan.dependencies(key):  # the hours of cached outputs are too few to count
            if self.plan.stages[needed].kind == "outputs" and self.folder(needed).done() is None:
                self.finish(needed, hours=0.0)
        kind = self.plan.stages[key].kind
        record = {"outputs": outputs_record, "tuning": tuning_record}.get(kind, training_record)(
            key=key,
            label=self.plan.stages[key].label,
            cost=cost_of(hours, **changes),
            environment=Environment(device=DEVICE),
            weights_sha256="ab" * 32,
        )
        if isinstance(record, TrainingRecord):
            bits = np.packbits(np.asarray(correct, bool)).tobytes().hex()
            metrics = TrainingMetrics(test_accuracy=accuracy, test_count=1000, test_correct=bits, chosen_epoch=1)
            data = DataRecord(names=("a", "b"), train=40, test=1000)
            model = ModelRecord(parameters=123, flops=4_000_000_000)
            record = record.model_copy(update={"kind": kind, "metrics": metrics, "data": data, "model": model})
        self.write(key, record)

    def finish_arm(self, arm: str, accuracies: list[float], hours: list[float] | None = None, **where: Any) -> None:
        """Finishes the first cells of an arm with these accuracies."""
        hours = hours or [1.0] * len(accuracies)
        for cell, accuracy, each in zip(self.cells(arm, **where), accuracies, hours, strict=False):
            self.finish(cell.stage, accuracy, each)

    def calibrate(self, images_per_second: float, devices: int = 1, device: str = DEVICE) -> None:
        """Finishes the calibration of every student."""
        for key, stage in self.plan.stages.items():
            if stage.kind == "calibration":
                cost, environment = cost_of(0.01, devices=devices), Environment(device=device)
                self.write(key, calibration_record(images_per_second, cost=cost, environment=environment))
                self.folder(key).write_spec(stage.spec)

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
        self.folder(key).write_state(StageState(status="failed", reason=reason))

    def frame(self) -> pd.DataFrame:
        return results_frame(self.plan, self.store)


@pytest.fixture(scope="session")
def plans() -> dict[str, Plan]:
    """Plans that tests have made, by their suites; they are shared, and no test changes one."""
    return {}


@pytest.fixture
def make_plan(tmp_path, tmp_path_factory, tiny_suite, plan_of, plans) -> Callable[..., Plan]:
    """The plan of a suite, made once for all tests; one that names files of the test is in the test's own folder."""

    def make(overrides: Sequence[str], suite: dict[str, Any]) -> Plan:
        key = json.dumps([overrides, suite])
        names_files = '"plugins"' in key or '"path"' in key
        if key not in plans or names_files:
            folder: Path = tmp_path if names_files else tmp_path_factory.mktemp("suite")
            path = tiny_suite(folder, **suite)
            (folder / "weights.bin").write_bytes(b"weights")
            plans[key] = plan_of(path, *overrides)
        return plans[key]

    return make


@pytest.fixture
def make_lab(tmp_path, make_plan) -> Callable[..., Lab]:
    """A lab for the tiny suite with every method and three seeds; keywords change the suite's top level."""

    def make(*overrides: str, **changes: Any) -> Lab:
        arms = {
            "scratch": {"method": "scratch"},
            "probe": {"method": "linear_probe"},
            "tune": {"method": "finetune"},
            "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        }
        suite = {"seeds": [0, 1, 2], "students": {"small": STUDENT}, "arms": arms}
        store = Store(tmp_path / "runs")
        store.open()
        return Lab(make_plan(overrides, suite | changes), store)

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


@pytest.fixture
def chained(make_lab) -> Lab:
    """A distilled student is fine-tuned as well, by an arm that stands before the one of pre-train + fine-tune."""
    arms = {
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        "distil + tune": {"method": "finetune", "start": "distil"},
        "tune": {"method": "finetune"},
    }
    lab = make_lab(arms=arms)
    lab.finish(lab.teacher(), accuracy=0.9, hours=6.0)
    lab.finish_arm("distil", [0.599, 0.6, 0.601], [3.0] * 3)
    lab.finish_arm("distil + tune", [0.899, 0.9, 0.901], [1.0] * 3)
    lab.finish_arm("tune", [0.799, 0.8, 0.801], [4.0] * 3)
    lab.calibrate(images_per_second=50.0)
    return lab


@pytest.fixture
def tuned_apart(make_lab) -> Lab:
    """Two students, each fine-tuned by an arm of its own: the second for 8 hours, the first for 5; 3 to distil."""
    arms = {
        "tune b": {"method": "finetune", "students": ["b"]},
        "tune a": {"method": "finetune", "students": ["a"]},
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
    }
    lab = make_lab(arms=arms, students={"a": STUDENT, "b": STUDENT | {"recipe": {"lr": 0.05}}})
    lab.finish(lab.teacher(), hours=6.0)
    for student, hours in (("a", 5.0), ("b", 8.0)):
        lab.finish_arm(f"tune {student}", [0.5] * 3, [hours] * 3)
        lab.finish_arm("distil", [0.5] * 3, [3.0] * 3, student=student)
    lab.calibrate(images_per_second=50.0)
    return lab
