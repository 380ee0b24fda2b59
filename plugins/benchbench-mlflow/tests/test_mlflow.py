"""The MLflow run of a finished stage, read back by MLflow's own client."""

import json
import shutil
from pathlib import Path

import pytest

from benchbench.planning.model import Stage
from benchbench.plugins import load_plugins
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.specs.records import TrainingMetrics
from benchbench.testing import checks_of
from tests.specs import calibration_record, calibration_spec, cost_record, recipe_spec, training_record, training_spec

for library in ("mlflow", "sqlalchemy", "alembic"):
    pytest.importorskip(library, reason=f"{library} is not installed")
pytestmark = pytest.mark.whole_run
ENVIRONMENT = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
FILE = Path(__file__).parent.parent / "benchbench_mlflow.py"
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


def runs(name="benchbench"):
    from mlflow import MlflowClient

    client = MlflowClient()
    return client, client.search_runs([client.get_experiment_by_name(name).experiment_id])


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """MLflow makes the tables of a database by tens of migrations, which takes seconds; tests have copies."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def database(empty_database, tmp_path, monkeypatch, finished):
    """MLflow chooses its default database once per process; a test's is in its own folder."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def test_a_run_with_its_curve_and_its_metrics(finished, database):
    finished()
    client, (run,) = runs()
    assert (run.info.run_name, run.info.status) == (STAGE.label, "FINISHED")
    assert (run.data.tags["kind"], run.data.tags["key"]) == ("cell", STAGE.key)
    recipe = {name: str(value) for name, value in SPEC.recipe.as_json().items()}
    assert run.data.params == {"method": "scratch", "seed": "3", **recipe}
    assert (run.data.params["epochs"], run.data.params["lr"]) == ("2", "0.001")
    assert run.data.metrics == {
        "loss": 1.0,
        "align_uniform.uniform": -2.5,
        "test_accuracy": 0.625,
        "test_count": 8,
        "chosen_epoch": 2,
        "device_hours": 1.25,
    }
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 9.0), (1, 2.0), (2, 1.0)]


def test_more_than_mlflow_takes_at_once(finished, database, tmp_path):
    (tmp_path / "stage" / "curve.jsonl").write_text("".join(f'{{"epoch": {n}, "loss": {n}}}\n' for n in range(1500)))
    finished()
    _, (run,) = runs()
    assert run.data.metrics["loss"] == 1499
    assert run.data.metrics["test_accuracy"] == 0.625


def test_the_experiment_can_be_another(finished, database, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    finished()
    finished(CALIBRATION, calibration_record(), curve=False)
    _, stages = runs("mine")
    assert len(stages) == 2
    (calibration,) = (run for run in stages if run.data.tags["kind"] == "calibration")
    assert calibration.data.params == {}
    assert calibration.data.metrics["images_per_second"] == 100
