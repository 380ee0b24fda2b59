"""Lifecycle hooks are called once each, in a folder of their own; one that raises fails its check."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.errors import PluginError
from benchbench.hookspecs import Lifecycle
from benchbench.testing import checks_of, failures
from benchbench.testing.lifecycle import HOOKS, events

GOOD = """
from pathlib import Path
from benchbench import hookimpl

@hookimpl
def benchbench_plan_made(plan, done):
    assert plan.suite.name and all(key in plan.stages for key in done)

@hookimpl
def benchbench_stage_finished(stage, record):
    Path("log.txt").write_text(f"{stage.label} {record.metrics.test_accuracy} {record.cost.device_hours}")

@hookimpl
def benchbench_run_finished(failed):
    Path("log.txt").write_text("".join(failed.values()))
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        (tmp_path / "hooks.py").write_text(text)
        return tmp_path / "hooks.py"

    return write


def test_each_is_called_and_leaves_nothing_behind(file, tmp_path):
    checks = checks_of(file(GOOD))
    assert [check.subject for check in checks[1:]] == [
        "hook/benchbench_plan_made",
        "hook/benchbench_stage_finished",
        "hook/benchbench_run_finished",
    ]
    assert failures(checks) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"hooks.py", "__pycache__"}


def test_one_that_raises_fails_with_its_line(file):
    text = "from benchbench import hookimpl\n\n@hookimpl\ndef benchbench_stage_finished(record):\n    record.accuracy\n"
    assert failures(checks_of(file(text))) == [
        "FAILED   hook/benchbench_stage_finished  call: raised AttributeError: 'TrainingRecord' object has no "
        "attribute 'accuracy' (hooks.py:5)"
    ]


def test_a_wrong_argument_is_found_when_it_is_loaded(file):
    with pytest.raises(PluginError, match=r"hooks\.py did not load: .*wroker"):
        checks_of(file(GOOD.replace("stage, record", "stage, wroker")))


def test_there_is_an_event_for_every_hook_with_all_its_arguments():
    specified = {name: hook for name, hook in vars(Lifecycle).items() if name.startswith("benchbench_")}
    assert set(HOOKS) == set(events()) == set(specified)
    for name, hook in specified.items():
        assert set(events()[name]) == set(hook.__code__.co_varnames[1 : hook.__code__.co_argcount])
