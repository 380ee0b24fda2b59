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

PER_CLASS, SIDE, BATCH, EPOCHS = 6, 32, 20, 2


AUGMENT = (
    ComponentSpec(name="flip", params={"probability": 0.5}),
    ComponentSpec(name="random_crop", params={"padding": 4, "resize": None}),
)


decoded_once = functools.cache(load)


TEST_IMAGES = 100


@functools.cache
def fewer_images(params: Cifar10SubsetParams, root: Path, split: str) -> ImageDataset:
    """The bundled images; of the test split, every tenth, since a test of all takes longer than the training."""
    images = decoded_once(params, root, split)
    if split != "test":
        return images
    array = images.array[::10]
    return ImageDataset(images.labels[::10], images.classes, ArrayImages(array), array)


@pytest.fixture(autouse=True)
def _few_images_decoded_once(monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.load", fewer_images)


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def recipe(**changes: Any) -> RecipeSpec:
    return recipe_spec(**{"epochs": EPOCHS, "batch_size": BATCH, "augment": AUGMENT, "precision": "fp32", **changes})


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
