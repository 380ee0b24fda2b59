"""Trials of a search and the cell that tests the best of them; tiny trainings, in this process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchbench.errors import StageError
from benchbench.export.load import load_trained
from benchbench.plugins import load_plugins
from benchbench.specs.consistency import find_contradiction
from benchbench.specs.parts import ComponentSpec, ModelSpec, file_json
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.stages import searched, trial
from benchbench.stages.context import StageContext
from benchbench.store import file_sha256
from tests.objects import write_objects
from tests.segments import write_squares
from tests.specs import data_spec, recipe_spec, training_spec
from tests.stages.contexts import finish, stage_context

RATES = (1e-3, 1e-2, 1e30)  # the last one diverges


@pytest.fixture
def spec(tmp_path) -> TrainingSpec:
    """A trial on two classes that any network tells apart; its test images cannot be read yet."""
    write_images(tmp_path / "images" / "train", 8)
    write_images(tmp_path / "images" / "test", 3)
    for file in (tmp_path / "images" / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    source = ComponentSpec(name="imagefolder", params={"path": file_json(tmp_path / "images", "abc", "tested")})
    recipe = recipe_spec(image_size=16, batch_size=4, epochs=2)
    data = data_spec(source=source, per_class=None, validation=0.5)
    model = ModelSpec(source="cifar", name="resnet8")
    return training_spec(kind="trial", data=data, recipe=recipe, model=model)


def write_images(folder, count: int) -> None:
    for name, value in (("dark", 20), ("light", 230)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(np.full((16, 16, 3), value + number, np.uint8)).save(folder / name / f"{number}.png")


def contexts(spec: TrainingSpec, folder) -> list[StageContext]:
    registry = load_plugins().registry
    recipes = [spec.recipe.model_copy(update={"lr": lr}) for lr in RATES]
    specs = [spec.model_copy(update={"recipe": recipe}) for recipe in recipes]
    return [stage_context(each, folder / f"trial{index}", registry) for index, each in enumerate(specs)]


def finished(trials: list[StageContext]) -> list[TrainingRecord]:
    records = []
    for index, (context, result) in enumerate(zip(trials, trial.run_group(trials), strict=True)):
        assert not isinstance(result, Exception)
        record = result.record.model_copy(update={"key": str(index), "label": str(index)})
        record = record.model_copy(update={"environment": record.environment})
        context.folder.write_spec(context.spec)
        context.folder.write_record(record, result.curve)
        records.append(record)
    return records


def test_the_trial_that_is_best_on_the_validation_images_is_tested(spec, tmp_path):
    trials = contexts(spec, tmp_path)
    records = finished(trials)
    accuracies = [record.metrics.validation_accuracy for record in records]
    assert accuracies[2] is None  # diverged
    assert records[2].weights_sha256 is None
    assert records[2].cost.device_hours > 0
    # One pass over the eight images that are trained on, after which it was found out.
    assert (records[2].cost.images, records[2].metrics.epochs) == (8, 1)
    assert all(0 <= each <= 1 for each in accuracies[:2])
    for record in records:
        assert (record.metrics.test_accuracy, record.metrics.test_count, record.data.test) == (None, 0, None)
        assert find_contradiction(record) is None

    write_images(tmp_path / "images" / "test", 3)
    for context, record, accuracy in zip(trials, records, (0.25, 0.75, None), strict=True):
        metrics = record.metrics.model_copy(update={"validation_accuracy": accuracy})
        context.folder.write_record(record.model_copy(update={"metrics": metrics}), context.folder.read_curve())
    needs = {f"trial{index}": context.folder for index, context in enumerate(trials)}
    cell = stage_context(spec.model_copy(update={"kind": "cell"}), tmp_path / "cell", trials[0].registry, needs=needs)
    record = finish(searched, cell).record
    assert record.chosen.key == "1"
    assert record.chosen.recipe.lr == RATES[1]
    assert record.kind == "cell"
    assert record.metrics.validation_accuracy == 0.75
    assert (record.metrics.test_count, record.data.test) == (6, 6)
    assert record.weights_sha256 == file_sha256(trials[1].folder.weights)
    assert record.cost.images is None
    assert find_contradiction(record) is None
    assert record.metrics.top_class_share is not None
    assert cell.folder.read_curve() == trials[1].folder.read_curve()
    cell.folder.write_spec(cell.spec)
    model, classes = load_trained(cell.folder.path)
    assert classes == ("dark", "light")
    pixels = torch.tensor([20.0, 21.0, 22.0, 230.0, 231.0, 232.0]).reshape(6, 1, 1, 1).expand(6, 3, 16, 16) / 255
    with torch.no_grad():
        hits = model(pixels).logits.argmax(1) == torch.tensor([0, 0, 0, 1, 1, 1])
    assert record.metrics.test_accuracy == pytest.approx(float(hits.float().mean()))


@pytest.fixture
def of_pixels(spec, tmp_path) -> TrainingSpec:
    params = {"path": file_json(write_squares(tmp_path / "squares"), "abc"), "classes": ["background", "square"]}
    return with_head(spec, ComponentSpec(name="maskfolder", params=params), "fpn", {"width": 8}, 16)


@pytest.fixture
def of_boxes(spec, tmp_path) -> TrainingSpec:
    folder = write_objects(tmp_path / "objects")
    params = {part: file_json(folder / f"{part}.json", "abc") for part in ("train", "test")}
    head = {"width": 32, "convolutions": 0, "finest": 2, "extra_levels": False}
    return with_head(spec, ComponentSpec(name="coco", params=params), "fcos", head, 32)


def with_head(spec: TrainingSpec, source: ComponentSpec, head: str, params: dict, size: int) -> TrainingSpec:
    data = spec.data.model_copy(update={"source": source, "validation": 0.25})
    model = spec.model.model_copy(update={"head": ComponentSpec(name=head, params=params)})
    recipe = spec.recipe.model_copy(update={"image_size": size})
    return spec.model_copy(update={"data": data, "model": model, "recipe": recipe})


@pytest.mark.parametrize(("task", "measure"), [("spec", "accuracy"), ("of_pixels", "miou"), ("of_boxes", "map")])
def test_a_trial_names_its_measure_without_a_test(task, measure, tmp_path, request):
    """One that has diverged does so too."""
    first, _, diverging = contexts(request.getfixturevalue(task), tmp_path)
    records = [result.record for result in trial.run_group([first, diverging])]
    assert [record.metrics.score for record in records] == [measure] * 2
    assert [record.metrics.test_count for record in records] == [0, 0]
    assert [record.metrics.validation_accuracy is None for record in records] == [False, True]


def test_other_seeds_have_their_say(spec, tmp_path):
    """The best trial of a seed is not tested where another one is better in the mean over all seeds."""
    means = {0: [0.9, 0.1], 1: [0.6, 0.6], 2: [1.0, None]}
    assert searched.best_trial(means) == 1
    assert searched.best_trial({0: [0.5], 1: [0.5]}) == 0
    assert searched.best_trial({0: [0.0, 0.0], 1: [None, 1.0]}) == 0
    assert searched.best_trial({0: [None], 1: [None]}) is None


def test_nothing_is_tested_where_every_trial_has_diverged(spec, tmp_path):
    diverging = contexts(spec, tmp_path)[2:]
    finished(diverging)
    cell = stage_context(
        spec.model_copy(update={"kind": "cell"}),
        tmp_path / "cell",
        diverging[0].registry,
        needs={"trial0": diverging[0].folder},
    )
    with pytest.raises(StageError, match="every trial has diverged"):
        searched.run(cell)


def test_a_failure_that_is_no_divergence_is_one(spec, tmp_path):
    context = contexts(spec.model_copy(update={"data": spec.data.model_copy(update={"validation": 0.0})}), tmp_path)[0]
    with pytest.raises(StageError, match="no class has an image to spare"):
        trial.run(replace(context))
