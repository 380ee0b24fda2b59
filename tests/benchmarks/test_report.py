"""A report of ten thousand results: seconds, memory, and the size of the page.

`pytest tests/benchmarks/test_report.py -s` prints them. The records are invented; the plan, the store and the command
are real.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.hardware.devices import find_devices
from benchbench.planning.expand import make_plan
from benchbench.planning.model import Plan, Stage
from benchbench.plugins import load_plugins
from benchbench.specs.records import DataRecord, Environment, ModelRecord, StageRecord, TrainingMetrics
from benchbench.store import Store
from benchbench.suite.file import load_suite
from tests.specs import calibration_record, cost_record, outputs_record, training_record

SEEDS, DATA, STUDENTS, TEST_IMAGES, EPOCHS = 10, 10, 10, 1000, 100
PRETRAINING = {"images": 1_281_167, "epochs": 90, "image_size": 64, "source": "a made-up recipe"}
# Prints seconds, seconds of processor time, and the peak of memory (MB) of a command. A process of its own does that: a
# child's peak begins with what its parent held when it was made, and this one holds torch.
MEASURED = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000]))
"""
LOSSES = ("kd", "sp", "rkd", "dkd", "dist", "pkt", "cc")
SUITE = {
    "name": "large",
    "seeds": list(range(SEEDS)),
    "data": {
        f"set{index}": {"source": "cifar10_subset", "subset_seed": index, "per_class": 50} for index in range(DATA)
    },
    "students": {
        f"student{index}": {
            "model": "timm/test_efficientnet",
            "weights": "pretrained",
            "pretraining": PRETRAINING,
            "input_size": 32 + index,
        }
        for index in range(STUDENTS)
    },
    "teachers": {"big": {"model": "timm/test_resnet", "adapt": ["scratch"]}},
    "recipes": {"default": {"epochs": EPOCHS, "batch_size": 50, "image_size": 32, "precision": "exact"}},
    "arms": {
        "scratch": {"method": "scratch"},
        "linear probe": {"method": "linear_probe"},
        "pre-train + fine-tune": {"method": "finetune"},
        **{name: {"method": "distill", "loss": {"ce": 1, name: 1}} for name in LOSSES},
    },
}


def plan_of(folder: Path) -> Plan:
    path = folder / "suite.yaml"
    path.write_text(json.dumps(SUITE))  # JSON is YAML
    return make_plan(load_suite(path), load_plugins().registry, find_devices("cpu"), folder / "data")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A folder with the suite and a store of all its results."""
    folder = tmp_path_factory.mktemp("large")
    plan, store, random = plan_of(folder), Store(folder / "runs"), np.random.default_rng(0)
    store.open()
    indices = {cell.stage: index for index, cell in enumerate(plan.cells)}
    for key, stage in plan.stages.items():
        stage_folder = store.stage(stage.kind, key)
        stage_folder.path.mkdir(parents=True)
        stage_folder.write_spec(stage.spec)
        accuracy = 0.4 + 0.05 * (indices.get(key, 0) // (SEEDS * DATA * STUDENTS)) / 10 + random.normal(0, 0.01)
        curve = [
            {"epoch": epoch, "loss": 2 / epoch, "train_accuracy": accuracy * (1 - 0.5**epoch)}
            for epoch in range(1, EPOCHS + 1)
        ]
        stage_folder.write_record(record(stage, accuracy, random), curve)
    return folder


def record(stage: Stage, accuracy: float, random: np.random.Generator) -> StageRecord:
    seconds = {"data": 30.0, "teacher": 60.0, "student": 200.0, "evaluation": 10.0}
    alone = {**seconds, "student": 200.0 + random.normal(0, 6)}
    common: dict[str, Any] = {
        "key": stage.key,
        "label": stage.label,
        "cost": cost_record(
            seconds=seconds,
            alone_seconds=alone,
            images=50_000,
            peak_bytes=500_000_000,
        ),
        "environment": Environment(device="a processor", versions={"torch": "2"}),
        "weights_sha256": "ab" * 32,
    }
    if stage.kind == "calibration":
        return calibration_record(100.0, **common)
    data = DataRecord(names=tuple(f"class{index}" for index in range(10)), train=500, test=TEST_IMAGES)
    if stage.kind == "outputs":
        return outputs_record(data=data, **common)
    correct = random.random(TEST_IMAGES) < accuracy
    metrics = TrainingMetrics(
        test_accuracy=float(correct.mean()),
        test_count=TEST_IMAGES,
        test_correct=np.packbits(correct).tobytes().hex(),
        chosen_epoch=EPOCHS,
    )
    model = ModelRecord(parameters=360_000, flops=2_000_000)
    return training_record(kind=stage.kind, metrics=metrics, data=data, model=model, **common)


@pytest.mark.parametrize("formats", [["md"], ["html"], ["md", "tex", "csv", "pdf", "png"]], ids=" ".join)
def test_ten_thousand_results(formats, large, benchmark):
    report = large / "report" / "-".join(formats)
    options = [word for kind in formats for word in ("--format", kind)]
    command = [sys.executable, "-m", "benchbench", "report", "suite.yaml", "--report", str(report), *options]
    measurements = []

    def once() -> None:
        done = subprocess.run([sys.executable, "-c", MEASURED, *command], cwd=large, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        measurements.append(tuple(json.loads(done.stdout)))

    benchmark.pedantic(once, rounds=3)
    wall, busy, memory = (sorted(column)[1] for column in zip(*measurements, strict=True))
    size = sum(path.stat().st_size for path in report.iterdir()) / 1e6
    print(
        f"\n{' '.join(formats)}: {wall:.1f} s ({busy:.1f} s of processor time), {memory:.0f} MB, {size:.1f} MB written"
    )
