"""The library: the same plan, run and report as the command line, as functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchbench import api, hookimpl
from benchbench.errors import BenchBenchError, SuiteError, UnknownNameError
from tests.running.commands import on_one_core


class Listener:
    """Keys of the stages that finish."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    @hookimpl
    def benchbench_stage_finished(self, stage):
        self.keys.append(stage.key)


@pytest.fixture
def suite(tiny_suite, tmp_path) -> Path:
    return tiny_suite(tmp_path, seeds=[0], teachers=None, arms={"scratch": {"method": "scratch"}})


@pytest.fixture
def experiment(suite, tmp_path) -> Iterator[api.Experiment]:
    with on_one_core():
        yield api.plan(suite, store=tmp_path / "runs", data=tmp_path / "data", executor="inline", device="cpu")


@pytest.mark.whole_run
def test_a_session(experiment, tmp_path):
    """Plan, estimate, run, report, write: each call's result is the next one's input."""
    (key,) = experiment.plan.stages
    assert api.estimate(experiment)[key].images == 40
    listener = Listener()
    outcome = api.run(experiment, listeners=[listener])
    assert (outcome.ran, outcome.failed, listener.keys) == ([key], {}, [key])
    assert api.run(experiment, listeners=[listener]).reused == [key]
    assert listener.keys == [key]  # the listener of a run hears of no other's
    report = api.report(experiment)
    assert report.results.status.tolist() == ["done"]
    assert "accuracy" in [table.name for table in report.tables]
    files = {path.name for path in api.write_report(report, tmp_path / "report", ["csv", "md"])}
    assert {"results.csv", "accuracy.csv", "accuracy.md"} <= files
    assert api.write_page(report, tmp_path / "report").name == "report.html"


def test_a_listener_stays_for_its_run_alone(experiment):
    listener = Listener()
    api.run(experiment, listeners=[listener])
    assert not experiment.host.manager.is_registered(listener)


def test_nothing_is_written_where_nothing_is_done(experiment, tmp_path):
    report = api.report(experiment)
    assert report.results.status.tolist() == ["missing"]
    assert api.write_report(report, tmp_path / "report") == []
    assert not (tmp_path / "report").exists()
    assert not experiment.store.root.exists()


def test_overrides_and_names(suite, tmp_path):
    experiment = api.plan(suite, store=tmp_path / "runs", overrides=["seeds=[3, 4]"], device="cpu")
    assert experiment.name == "tiny"
    assert [cell.seed for cell in experiment.plan.cells] == [3, 4]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"overrides": ["sedes=[0]"]}, SuiteError, "did you mean 'seeds'"),
        ({"executor": "inlin"}, UnknownNameError, "unknown executor 'inlin'; did you mean 'inline'"),
        ({"executor": "inline", "jobs": 2}, BenchBenchError, "'inline' runs one stage at a time"),
        ({"device": "tpu"}, BenchBenchError, "tpu"),
    ],
)
def test_bad_input(suite, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        api.plan(suite, store=tmp_path / "runs", **options)


def test_an_unknown_template_or_format(experiment, tmp_path):
    with pytest.raises(BenchBenchError, match="did you mean 'paper'"):
        api.require_template(experiment, "papers")
    with pytest.raises(BenchBenchError, match="unknown format 'docx'"):
        api.write_report(api.report(experiment), tmp_path, ["docx"])


def test_planning_imports_nothing_heavy(suite, tmp_path, python):
    code = (
        "import sys\nfrom benchbench import api\napi.plan(sys.argv[1], store=sys.argv[2], device='cpu')\n"
        "print(sorted({'torch', 'pandas', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    assert python("-c", code, suite, tmp_path / "runs").out.strip() == "[]"
