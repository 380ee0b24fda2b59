"""The test of a finished training on a test split that has changed since; one tiny training, in this process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from benchbench.errors import StoreError
from benchbench.plugins import load_plugins
from benchbench.specs.consistency import find_contradiction
from benchbench.specs.parts import ComponentSpec, file_json
from benchbench.specs.records import TrainingRecord
from benchbench.stages import retest, train
from tests.specs import data_spec, recipe_spec, training_spec
from tests.stages.contexts import finish, stage_context


@pytest.fixture
def folder(tmp_path):
    """Two classes that any network tells apart, and a test split of four images."""
    for split, count in (("train", 4), ("test", 2)):
        for name, value in (("dark", 20), ("light", 230)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((16, 16, 3), value + number, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def context(folder, tmp_path):
    source = ComponentSpec(name="imagefolder", params={"path": file_json(folder, "abc", "tested")})
    recipe = recipe_spec(image_size=16, batch_size=4, epochs=1)
    spec = training_spec(data=data_spec(source=source, per_class=None), recipe=recipe)
    return stage_context(spec, tmp_path / "stage", load_plugins().registry)


def predictions(record: TrainingRecord) -> np.ndarray:
    metrics = record.metrics
    bits = np.frombuffer(bytes.fromhex(metrics.test_correct), np.uint8)
    return np.unpackbits(bits)[: metrics.test_count].astype(bool)


def test_a_changed_test_split_is_tested_without_training(context, folder):
    before = finish(train, context)
    assert not retest.can_retest(context)
    weights = safetensors.torch.load_file(context.folder.weights)
    context.folder.record.replace(context.folder.earlier_record)
    # The same images under the other class: what was right is wrong.
    for number in range(2):
        dark, light = (folder / "test" / name / f"{number}.png" for name in ("dark", "light"))
        first, second = dark.read_bytes(), light.read_bytes()
        dark.write_bytes(second)
        light.write_bytes(first)
    assert retest.can_retest(context)
    torch.set_num_threads(2)  # another worker; the fixture of all tests puts it back
    context = replace(context, threads=2)
    after = finish(retest, context)
    record, earlier = after.record, before.record
    assert find_contradiction(record) is None
    swapped = ~predictions(earlier)[[2, 3, 0, 1]]
    assert np.array_equal(predictions(record), swapped)
    assert record.metrics.test_accuracy == swapped.mean()
    assert record.weights_sha256 == earlier.weights_sha256
    assert after.curve == before.curve
    assert record.metrics.chosen_epoch == earlier.metrics.chosen_epoch
    assert record.cost.device_hours > earlier.cost.device_hours
    assert record.cost.carried_seconds == 0
    assert record.cost.earlier_seconds == earlier.cost.seconds
    assert all(
        (tensor == weights[name]).all() for name, tensor in safetensors.torch.load_file(context.folder.weights).items()
    )
    context.folder.record.replace(context.folder.earlier_record)
    context.folder.weights.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"damaged; delete .* to run it again"):
        retest.run(context)
