"""Suites by name, and paths that a user gives for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.errors import SuiteError
from benchbench.suite.file import load_suite
from benchbench.suite.shipped import shipped_suite, shipped_suites, suite_argument, suite_path

SUITES = Path(__file__).parents[2] / "suites"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_all_of_the_folder_ship():
    assert list(shipped_suites().values()) == sorted(SUITES.glob("*.yaml"))
    assert suite_path("quickstart") == shipped_suite("quickstart") == SUITES / "quickstart.yaml"


@pytest.mark.parametrize("name", shipped_suites())
def test_the_name_of_the_file_is_that_of_the_suite(name):
    assert load_suite(shipped_suite(name)).suite.name == name


def test_a_file_comes_first():
    Path("quickstart").write_text("mine")
    assert suite_path("quickstart") == Path("quickstart")
    assert suite_argument(shipped_suite("quickstart")) == str(SUITES / "quickstart.yaml")


def test_a_file_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("mine.yaml").touch()
    assert suite_path("~/mine.yaml") == tmp_path / "mine.yaml"


def test_a_folder_of_the_name_is_no_suite():
    Path("quickstart").mkdir()
    assert suite_path("quickstart") == SUITES / "quickstart.yaml"


def test_the_argument_leads_back():
    assert suite_argument(shipped_suite("cifar")) == "cifar"
    assert suite_argument(Path("mine.yaml")) == "mine.yaml"


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("quikstart", "there is no suite file quikstart, and no suite 'quikstart' ships; did you mean 'quickstart'?"),
        ("suites/quickstart.yaml", "does not exist; the suite that ships is called 'quickstart', without a folder"),
        ("qickstart.yaml", "suite file qickstart.yaml does not exist; did you mean 'quickstart'?"),
        ("xyz.yaml", "suite file xyz.yaml does not exist; give the path of a YAML file, or a suite that ships: cifar"),
        ("xyz", "and no suite 'xyz' ships; give the path of a YAML file, or a suite that ships: cifar, "),
    ],
)
def test_one_line_for_what_is_not_there(suite, message):
    with pytest.raises(SuiteError) as caught:
        suite_path(suite)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name():
    with pytest.raises(SuiteError, match="no suite 'paper2' ships with benchbench; did you mean 'paper'"):
        shipped_suite("paper2")
