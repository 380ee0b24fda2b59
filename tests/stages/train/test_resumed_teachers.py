"""Frozen networks of a stage that was killed: they go on as they were run, whatever tuning says by then."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest
import safetensors.torch
import timm
import torch

from benchbench.data import in_memory
from benchbench.execution.network import ExecutionConfig
from benchbench.specs.parts import FileSpec, NetworkSpec, WeightsSpec
from benchbench.specs.records import TuningMetrics
from benchbench.stages import outputs, train
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from tests.specs import input_spec, outputs_spec, tuning_record
from tests.stages.train.conftest import BATCH, SIDE, KilledError, distilling, images_of, pretrained

BEFORE, SINCE = ExecutionConfig(channels_last=True, fold_bn=True), ExecutionConfig(precision="bf16")


@pytest.fixture
def weights(tmp_path) -> WeightsSpec:
    torch.manual_seed(5)
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    return WeightsSpec(file=FileSpec(path=str(tmp_path / "w.safetensors"), content=""))


def tune(folder: StageFolder, config: ExecutionConfig) -> None:
    folder.path.mkdir(exist_ok=True)
    folder.write_record(tuning_record(metrics=TuningMetrics(execution=config.record(), step_seconds={})))


@pytest.mark.parametrize("module", [train, outputs], ids=["live", "cached"])
def test_it_is_run_as_before(module: ModuleType, stage, weights, tmp_path, monkeypatch):
    for each in (in_memory, outputs):
        monkeypatch.setattr(each, "VIEW_CHUNK", BATCH)
    spec = distilling("pretrained", ["ce", "align_uniform"], weights, precision="auto", tolerance=1.0)
    if module is outputs:
        recipe = input_spec(views=1, batch_size=BATCH, image_size=SIDE, precision="auto", tolerance=1.0)
        network = NetworkSpec(model=pretrained(weights), state="pretrained")
        spec = outputs_spec(data=images_of(), network=network, recipe=recipe)
    tuning, real = StageFolder(tmp_path / "tuning"), Checkpoints.save
    tune(tuning, BEFORE)
    needs = {"tuning.teacher0": tuning}
    expected = module.run(stage(spec, needs=needs))

    def save(self, state):
        real(self, state)
        raise KilledError

    monkeypatch.setattr(Checkpoints, "save", save)
    context = stage(spec, needs=needs, checkpoint_seconds=0)
    with pytest.raises(KilledError):
        module.run(context)
    monkeypatch.setattr(Checkpoints, "save", real)
    tune(tuning, SINCE)
    record = module.run(context).record
    assert ExecutionConfig.of(record.execution["teacher0"]) == BEFORE
    assert record.execution == expected.record.execution
    assert record.model_dump().get("outputs") == expected.record.model_dump().get("outputs")
    assert record.model_dump().get("weights_sha256") == expected.record.model_dump().get("weights_sha256")
    assert module.run(stage(spec, needs=needs)).record.execution["teacher0"].precision == "bf16"


def test_cells_go_on_together_where_their_teachers_ran_alike():
    def cell(number, teachers, threads=1, begins=False):
        return SimpleNamespace(number=number, teachers=teachers, threads=threads, state=None if begins else {})

    cells = [cell(0, {}, begins=True), cell(1, {"a": 1}), cell(2, {"a": 2}), cell(3, {"a": 1}), cell(4, {}, 2)]
    assert [[each.number for each in cohort] for cohort in train._cohorts(cells)] == [[1, 3, 0], [2], [4]]
