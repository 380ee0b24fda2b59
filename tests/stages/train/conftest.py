"""The training stage on few images, called as a worker calls it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.data.images import ImageDataset
from benchbench.data.sources.bundled import Cifar10SubsetParams, load
from benchbench.data.sources.common import ArrayImages
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, DataSpec, ModelSpec, RecipeSpec, TeacherSpec, WeightsSpec
from benchbench.specs.stages import TrainingSpec
from benchbench.stages.context import StageContext
from tests.specs import BIG, data_spec, loss_spec, recipe_spec, training_spec
from tests.stages.contexts import stage_context

PER_CLASS, SIDE, BATCH, EPOCHS = 6, 16, 20, 2


AUGMENT = (
    ComponentSpec(name="flip", params={"probability": 0.5}),
    ComponentSpec(name="random_crop", params={"padding": 4, "resize": None}),
)


TEST_IMAGES = 40


@functools.cache
def few_images(split: str) -> ImageDataset:
    """The bundled images on every other pixel; of the test split few, since all take longer than training."""
    images, every = load(Cifar10SubsetParams(), Path(), split), 1000 // TEST_IMAGES if split == "test" else 1
    array = images.array[::every, :: 32 // SIDE, :: 32 // SIDE]
    return ImageDataset(images.labels[::every], images.classes, ArrayImages(array), array)


@pytest.fixture(autouse=True)
def _few_images_decoded_once(monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.load", lambda params, root, split: few_images(split))


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def recipe(**changes: Any) -> RecipeSpec:
    defaults = {"epochs": EPOCHS, "batch_size": BATCH, "image_size": SIDE, "augment": AUGMENT, "precision": "fp32"}
    return recipe_spec(**{**defaults, **changes})


def cell(**changes: Any) -> TrainingSpec:
    defaults = {"seed": 3, "data_seed": 3, "data": images_of(), "recipe": recipe()}
    return training_spec(**{**defaults, **changes})


def images_of(**changes: Any) -> DataSpec:
    return data_spec(**{"per_class": PER_CLASS, **changes})


def teacher_spec(**changes: Any) -> TrainingSpec:
    """A teacher that trains for an epoch."""
    return cell(**{"kind": "teacher", "model": BIG, "role": "teacher", "recipe": recipe(epochs=1), **changes})


@pytest.fixture
def stage(tmp_path, registry) -> Callable[..., StageContext]:
    """A stage in a new folder."""
    count = 0

    def make(spec: TrainingSpec, **changes: Any) -> StageContext:
        nonlocal count
        count += 1
        return stage_context(spec, tmp_path / f"stage{count}", changes.pop("registry", registry), **changes)

    return make


class KilledError(Exception):
    pass


def pretrained(weights: WeightsSpec, model: ModelSpec = BIG) -> ModelSpec:
    return model.model_copy(update={"weights": weights})


def distilling(state: str, loss: list[str], weights: WeightsSpec | None = None, **changes: Any) -> TrainingSpec:
    return cell(
        method="distill",
        teachers=(TeacherSpec(model=pretrained(weights), state=state),),
        loss=tuple(loss_spec(name) for name in loss),
        recipe=recipe(**{"epochs": 1, **changes}),
    )
