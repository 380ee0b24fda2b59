import json

import pytest


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_findings_stand_under_headings_and_advice_at_the_end(cli, tmp_path):
    outcome = cli("doctor", "--device", "cpu", "--quick", "--store", tmp_path / "runs")
    assert outcome.code == 0, outcome.out
    lines = outcome.out.splitlines()
    assert lines[0] == "Machine"
    assert "Device" in lines
    assert any(line.startswith("  ok       versions: python 3.") for line in lines)
    advice = lines[lines.index("Advice") + 1 :]
    assert any(line.startswith("  network: weights and data sets must be there already") for line in advice)
    assert not (tmp_path / "runs").exists()


def test_json_has_every_finding_with_its_figures(cli, tmp_path):
    outcome = cli("doctor", "--device", "cpu", "--quick", "--json", "--store", tmp_path)
    answer = json.loads(outcome.out)
    assert answer["problems"] == 0
    findings = {each["name"]: each for each in answer["findings"]}
    assert findings["disk of the store"]["figures"]["free_gb"] > 0
    assert {each["level"] for each in answer["findings"]} <= {"ok", "note"}


def test_a_problem_is_an_exit_code(cli):
    outcome = cli("doctor", "--device", "cpu", "--quick", "--store", "/proc/runs")
    assert outcome.code == 1
    assert "PROBLEM  disk of the store: /proc cannot be written to" in outcome.out
    assert outcome.out.index("disk of the store: choose") < outcome.out.index("network: weights")


def test_a_device_that_is_not_there_is_bad_input(cli):
    outcome = cli("doctor", "--device", "cuda:77")
    assert outcome.code == 2
    assert "device 'cuda:77' is not there" in outcome.err


@pytest.mark.whole_run
def test_every_component_and_way_is_tried(cli, tmp_path):
    outcome = cli("doctor", "--device", "cpu", "--json", "--store", tmp_path)
    answer = json.loads(outcome.out)
    assert outcome.code == 0, [each for each in answer["findings"] if each["level"] == "problem"]
    findings = {each["name"]: each for each in answer["findings"]}
    assert findings["losses"]["figures"]["works"] >= 41
    assert findings["augmenters"]["figures"]["works"] >= 10
    assert findings["exact"]["figures"]["images_per_s"] > 0
    assert findings["conclusion"]["section"] == "speed"
