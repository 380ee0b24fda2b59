"""Likeness of student and teacher after a tiny distillation, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import safetensors.torch
import torch

from benchbench.data.images import ImageDataset
from benchbench.data.sources import bundled
from benchbench.data.sources.common import ArrayImages
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec, TeacherSpec
from benchbench.stages import similarity, train
from benchbench.stages.context import StageContext
from benchbench.stages.data import load_split
from benchbench.statistics.similarity import linear_cka
from benchbench.training.stop import STOP
from tests.specs import BIG, loss_spec, recipe_spec, training_spec
from tests.stages.contexts import finish, stage_context

# Without batch normalisation, whose statistics change at any rate.
VIT = ModelSpec(source="timm", name="test_vit", params={"img_size": 32})
MEASURED = 60  # images
RATE = 1e-9  # so that the trained student is still the one that it began as


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


@pytest.fixture(scope="module", autouse=True)
def _few_test_images() -> Iterator[None]:
    """Of which the stage measures some."""
    load = bundled.load

    def few(params, root, split):
        images = load(params, root, split)
        if split == "train":
            return images
        array = images.array[::10]
        return ImageDataset(images.labels[::10], images.classes, ArrayImages(array), array)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "load", few)
        patch.setattr(similarity, "IMAGES", MEASURED)
        yield


@pytest.fixture(scope="module")
def distilled(tmp_path_factory, registry):
    """A context and its result, of a student that has a trained teacher."""
    folder = tmp_path_factory.mktemp("stages")
    recipe = recipe_spec(lr=RATE)
    teacher = stage_context(training_spec(kind="teacher", role="teacher", model=BIG), folder / "teacher", registry)
    finish(train, teacher)
    spec = training_spec(
        seed=5,
        method="distill",
        model=VIT,
        teachers=(TeacherSpec(model=BIG, state="scratch"),),
        loss=(loss_spec("ce"), loss_spec("kd")),
        recipe=recipe,
    )
    context = stage_context(spec, folder / "cell", registry, needs={"teacher0": teacher.folder})
    return context, train.run(context)


def embedding_of(context: StageContext, model: ModelSpec, folder) -> np.ndarray:
    """Embeddings of the first test images by a network that is built from a weights file alone."""
    network = build_backbone(model, "student", context.registry, 10)
    network.load_state_dict(safetensors.torch.load_file(folder.weights))
    pixels = torch.from_numpy(load_split(context, "test").array[: similarity.IMAGES]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return network.eval()(pixels).embedding.numpy()


@pytest.mark.whole_run
def test_before_and_after(distilled):
    context, result = distilled
    random = torch.get_rng_state()
    (measured,) = similarity.with_similarity([context], [result])
    assert torch.equal(torch.get_rng_state(), random)
    both = measured.record.metrics.similarity
    teacher = embedding_of(context, BIG, context.needs["teacher0"])
    expected = linear_cka(embedding_of(context, VIT, context.folder), teacher)
    assert both.end == pytest.approx((expected,), abs=1e-4)
    assert both.start == pytest.approx(both.end, abs=1e-3)
    assert (both.images, both.family, both.teacher_families) == (MEASURED, "vision_transformer", ("resnet",))
    # Nothing else is changed.
    plain = measured.record.metrics.model_copy(update={"similarity": None})
    assert measured.record.model_copy(update={"metrics": plain}) == result.record
    assert measured.curve == result.curve


def test_the_start_is_that_of_the_seed(distilled, registry):
    """At a rate of almost 0 it is what the training has left; another seed has another one."""
    context, _ = distilled
    student = similarity.starting_student(context, 10).trunk.state_dict()
    trained = safetensors.torch.load_file(context.folder.weights)
    for name, tensor in student.items():
        assert torch.allclose(tensor, trained[f"trunk.{name}"], atol=1e-6), name
    other = stage_context(context.spec.model_copy(update={"seed": 6}), context.folder.path, registry)
    changed = similarity.starting_student(other, 10).trunk.state_dict()
    assert not all(torch.equal(tensor, student[name]) for name, tensor in changed.items())


def test_what_cannot_be_measured_is_left_as_it_is(distilled, registry, tmp_path, capsys):
    context, result = distilled
    scratch = stage_context(training_spec(), tmp_path / "scratch", registry)
    broken = stage_context(context.spec, tmp_path / "broken", registry, needs=context.needs)
    broken.folder.weights.write_bytes(b"damaged")
    error = ValueError("it failed")
    results = [result, result, error]
    assert similarity.with_similarity([scratch, broken, context], results) == results
    assert "how alike student and teacher are is not known" in capsys.readouterr().out


def test_a_request_to_end_comes_first(distilled, monkeypatch):
    context, result = distilled
    monkeypatch.setattr(STOP, "reason", KeyboardInterrupt())
    assert similarity.with_similarity([context], [result]) == [result]
