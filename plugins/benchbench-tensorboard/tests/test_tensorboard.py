"""The TensorBoard run of a finished stage, read back by TensorBoard's own reader."""

import json
from pathlib import Path

import pytest

from benchbench.planning.model import Stage
from benchbench.plugins import load_plugins
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.specs.records import TrainingMetrics
from benchbench.testing import checks_of
from tests.specs import calibration_record, calibration_spec, cost_record, recipe_spec, training_record, training_spec

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
ENVIRONMENT = ("BENCHBENCH_TENSORBOARD",)
FILE = Path(__file__).parent.parent / "benchbench_tensorboard.py"
SPEC = training_spec(seed=3, recipe=recipe_spec(epochs=2, lr=0.001))
STAGE = Stage(SPEC, "0a" * 32, "A/U, big (finetune) | ../cifar | small | seed 3")
METRICS = TrainingMetrics(test_accuracy=0.625, test_count=8, test_correct="ff", chosen_epoch=2)
RECORD = training_record(metrics=METRICS, cost=cost_record(device_hours=1.25))
CALIBRATION = Stage(calibration_spec(), "0b" * 32, "throughput of small")
CURVE = [
    {"epoch": 0, "loss": 9.0},  # the first stage of a two-stage method
    {"epoch": 1, "loss": 2.0, "align_uniform.uniform": -1.5},
    {"epoch": 2, "loss": 1.0, "align_uniform.uniform": -2.5},
]


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Calls the plugin with a finished stage, as a run does; gives the folder that it works in."""
    monkeypatch.chdir(tmp_path)
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CURVE))
    hooks = LifecycleHooks(load_plugins([FILE]))

    def finish(stage=STAGE, record=RECORD, curve=True):
        hooks.stage_finished(stage, record, folder if curve else tmp_path / "none")
        assert hooks.broken == set()
        return tmp_path

    return finish


@pytest.mark.parametrize("check", checks_of(FILE), ids=str)
def test_contract(check):
    finding = check.run()
    assert finding.status != "failed", finding


def runs(folder):
    """The scalars of every run of a folder: {run: {tag: [(step, value), ...]}}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scalars = {}
    for path in folder.iterdir():
        events = EventAccumulator(str(path)).Reload()
        tags = events.Tags()["scalars"]
        scalars[path.name] = {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags}
    return scalars


def test_a_run_for_each_stage(finished):
    folder = finished() / "tensorboard"
    finished(CALIBRATION, calibration_record(), curve=False)
    names = ["A-U-big-finetune-..-cifar-small-seed-3-0a0a0a0a", "throughput-of-small-0b0b0b0b"]
    assert sorted(runs(folder)) == names


def test_its_curve_and_its_metrics(finished):
    (scalars,) = runs(finished() / "tensorboard").values()
    assert scalars == {
        "curve/loss": [(0, 9.0), (1, 2.0), (2, 1.0)],
        "curve/align_uniform.uniform": [(1, -1.5), (2, -2.5)],
        "result/test_accuracy": [(2, 0.625)],
        "result/test_count": [(2, 8)],
        "result/chosen_epoch": [(2, 2)],
        "result/device_hours": [(2, 1.25)],
    }


def test_the_folder_can_be_another(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHBENCH_TENSORBOARD", str(tmp_path / "mine"))
    finished()
    assert len(runs(tmp_path / "mine")) == 1
    assert not (tmp_path / "tensorboard").exists()
