"""The file after a finished and a failed stage."""

import csv
from pathlib import Path

import pytest

from benchbench.planning.model import Stage
from benchbench.plugins import load_plugins
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.testing import checks_of
from tests.specs import calibration_record, calibration_spec, cost_record, training_record, training_spec

FILE = Path(__file__).parent.parent / "benchbench_events.py"
STAGE = Stage(training_spec(), "0" * 64, "KD, big (finetune) | cifar | small | seed 0")
FOLDER = Path("runs/cell") / STAGE.key[:16]


@pytest.fixture
def hooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCHBENCH_EVENTS", raising=False)
    return LifecycleHooks(load_plugins([FILE]))


def rows(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("check", checks_of(FILE), ids=str)
def test_contract(check):
    finding = check.run()
    assert finding.status != "failed", finding


def test_a_line_for_each_stage_under_one_header(hooks):
    hooks.stage_finished(STAGE, training_record(cost=cost_record(device_hours=1.25)), FOLDER)
    hooks.stage_failed(STAGE, "out of memory, again")
    finished, failed = rows("benchbench-events.csv")
    assert (finished["event"], finished["device_hours"], finished["test_accuracy"]) == ("finished", "1.25", "0.5")
    assert (failed["event"], failed["reason"], failed["device_hours"]) == ("failed", "out of memory, again", "")
    assert {row["stage"] for row in (finished, failed)} == {STAGE.label}


def test_a_calibration_has_no_accuracy(hooks):
    hooks.stage_finished(Stage(calibration_spec(), STAGE.key, "throughput"), calibration_record(), FOLDER)
    (row,) = rows("benchbench-events.csv")
    assert row["test_accuracy"] == ""


def test_the_file_can_be_another(hooks, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHBENCH_EVENTS", str(tmp_path / "mine.csv"))
    hooks.stage_failed(STAGE, "why")
    assert [row["reason"] for row in rows(tmp_path / "mine.csv")] == ["why"]


def test_a_folder_that_is_not_there_ends_nothing(hooks, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCHBENCH_EVENTS", str(tmp_path / "no" / "folder.csv"))
    hooks.stage_failed(STAGE, "why")
    assert "benchbench_stage_failed raised FileNotFoundError" in capsys.readouterr().err
