"""Specs and records for tests: complete, with defaults that a test changes by keyword."""

from __future__ import annotations

from typing import Any

from benchbench.specs.consistency import UNCHARGED
from benchbench.specs.parts import ComponentSpec, DataSpec, InputSpec, LossSpec, ModelSpec, NetworkSpec, RecipeSpec
from benchbench.specs.records import (
    CachedFiles,
    CalibrationMetrics,
    CalibrationRecord,
    Cost,
    DataRecord,
    DiffusionMetrics,
    DiffusionRecord,
    ExecutionRecord,
    FrozenModelRecord,
    ModelRecord,
    NearestMetrics,
    OutputsMetrics,
    OutputsRecord,
    QualityMetrics,
    QualityRecord,
    SynthesisMetrics,
    SynthesisRecord,
    TrainingMetrics,
    TrainingRecord,
    TuningMetrics,
    TuningRecord,
)
from benchbench.specs.stages import (
    CalibrationSpec,
    DiffusionSpec,
    OutputsSpec,
    SynthesisSpec,
    TrainingSpec,
)

SMALL = ModelSpec(source="timm", name="test_efficientnet")
BIG = ModelSpec(source="timm", name="test_resnet")


def data_spec(**changes: Any) -> DataSpec:
    """Four images of each class of the bundled photographs."""
    return DataSpec(**{"source": ComponentSpec(name="cifar10_subset"), "per_class": 4, **changes})


def recipe_spec(**changes: Any) -> RecipeSpec:
    """One epoch in plain float32."""
    defaults: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 20,
        "image_size": 32,
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 1e-2,
        "precision": "exact",
    }
    return RecipeSpec(**{**defaults, **changes})


def input_spec(**changes: Any) -> InputSpec:
    return recipe_spec(**changes).inputs()


def loss_spec(name: str = "ce", weight: float = 1.0, **params: Any) -> LossSpec:
    return LossSpec(name=name, weight=weight, params=params)


def training_spec(**changes: Any) -> TrainingSpec:
    """A cell that trains a small network from scratch."""
    defaults: dict[str, Any] = {
        "kind": "cell",
        "method": "scratch",
        "seed": 0,
        "data_seed": 0,
        "view_seed": 0,
        "data": data_spec(),
        "model": SMALL,
        "role": "student",
        "loss": (loss_spec(),),
        "recipe": recipe_spec(),
        "components": {},
        "code": "",
    }
    return TrainingSpec(**{**defaults, **changes})


def outputs_spec(**changes: Any) -> OutputsSpec:
    """Two views of the training images through a frozen network."""
    defaults: dict[str, Any] = {
        "data": data_spec(),
        "view_seed": 0,
        "network": NetworkSpec(model=BIG, state="scratch"),
        "recipe": input_spec(views=2),
        "splits": ("train",),
        "components": {},
        "code": "",
    }
    return OutputsSpec(**{**defaults, **changes})


def calibration_spec(**changes: Any) -> CalibrationSpec:
    """The small network's pre-training at 32 pixels, on a core of a processor."""
    defaults: dict[str, Any] = {
        "model": SMALL,
        "role": "student",
        "image_size": 32,
        "precision": "exact",
        "channels_last": "auto",
        "fold_bn": "auto",
        "compile": "auto",
        "device": "a processor",
        "threads": 1,
        "components": {},
        "code": "",
    }
    return CalibrationSpec(**{**defaults, **changes})


def diffusion_spec(**changes: Any) -> DiffusionSpec:
    """The training of a generator with its default parameters."""
    generator = ComponentSpec(name="trained_diffusion")
    defaults: dict[str, Any] = {"data": data_spec(), "seed": 0, "generator": generator, "components": {}, "code": ""}
    return DiffusionSpec(**{**defaults, **changes})


def synthesis_spec(**changes: Any) -> SynthesisSpec:
    """Two images of each class."""
    generator = ComponentSpec(name="same_class_mixup")
    defaults: dict[str, Any] = {"data": data_spec(), "seed": 0, "generator": generator, "components": {}, "code": ""}
    return SynthesisSpec(**{**defaults, "per_class": 2, **changes})


def cost_record(**changes: Any) -> Cost:
    """An hour on one core; seconds and hours that are not given follow from those that are."""
    devices, hours = changes.get("devices", 1), changes.get("device_hours", 1.0)
    for prefix in ("", "alone_"):
        given = changes.get(f"{prefix}device_hours", hours)
        seconds = changes.setdefault(f"{prefix}seconds", {"student": 3600 * given / devices})
        charged = sum(each for section, each in seconds.items() if section not in UNCHARGED)
        changes.setdefault(f"{prefix}device_hours", charged * devices / 3600)
    return Cost(**{"devices": 1, "unit": "CPU-hours", **changes})


def training_record(**changes: Any) -> TrainingRecord:
    """A finished cell that got half of ten test images right."""
    defaults: dict[str, Any] = {
        "kind": "cell",
        "metrics": TrainingMetrics(test_accuracy=0.5, test_count=10, chosen_epoch=1),
        "data": DataRecord(names=("a", "b"), train=40, test=10),
        "model": ModelRecord(parameters=1000, flops=10**6),
        "cost": cost_record(images=40),
    }
    return TrainingRecord(**{**defaults, **changes})


DATA = DataRecord(names=("a", "b"), train=40, test=10)
FROZEN = FrozenModelRecord(parameters=1000, flops=10**6, dim=8, sha256="cd" * 32)


def outputs_record(**changes: Any) -> OutputsRecord:
    """A finished stage that ran a frozen network on two views of 40 images."""
    defaults: dict[str, Any] = {
        "metrics": OutputsMetrics(images=40, views=2),
        "outputs": CachedFiles(views=2, view_seed=0, sha256={}, bytes=0),
        "data": DATA,
        "teachers": (FROZEN,),
        "cost": cost_record(),
    }
    return OutputsRecord(**{**defaults, **changes})


def tuning_record(step_seconds: float = 0.5, threads: int | None = 1, **changes: Any) -> TuningRecord:
    """A tuned network: seconds of a step for one image at the chosen speed."""
    execution = ExecutionRecord(threads=threads)
    metrics = TuningMetrics(execution=execution, step_seconds={"chosen, an image": step_seconds})
    return TuningRecord(**{"metrics": metrics, "cost": cost_record(), **changes})


def calibration_record(images_per_second: float = 100.0, **changes: Any) -> CalibrationRecord:
    """A measured throughput."""
    metrics = CalibrationMetrics(images_per_second=images_per_second, steps=10, batch_size=20)
    return CalibrationRecord(**{"metrics": metrics, "cost": cost_record(), **changes})


def diffusion_record(steps: int = 10, **changes: Any) -> DiffusionRecord:
    """A trained generator."""
    metrics = DiffusionMetrics(loss=1.0, steps=steps, images=40)
    model = ModelRecord(parameters=1000)
    return DiffusionRecord(**{"metrics": metrics, "data": DATA, "model": model, "cost": cost_record(), **changes})


def synthesis_record(images: int = 10, **changes: Any) -> SynthesisRecord:
    """A set of generated images."""
    metrics = SynthesisMetrics(images=images)
    return SynthesisRecord(**{"metrics": metrics, "data": DATA, "cost": cost_record(), **changes})


def quality_record(**changes: Any) -> QualityRecord:
    """Measures of ten generated images, none a copy."""
    nearest = NearestMetrics(quartiles=(1.0, 2.0, 3.0), copies=0)
    metrics = QualityMetrics(images=10, real=40, dimensions=8, fid=1.0, kid=0.1, train=nearest, test=nearest)
    defaults = {"metrics": metrics, "data": DATA, "teachers": (FROZEN,), "cost": cost_record()}
    return QualityRecord(**{**defaults, **changes})
