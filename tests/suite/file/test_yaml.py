"""Files that are no YAML, or more of it than a suite needs."""

from __future__ import annotations

import pytest

from benchbench.errors import SuiteError
from benchbench.suite.file import load_suite
from tests.suite.file.conftest import SUITE, changed, error_of


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  distill:\n    epochs: 3", "  distill:\n\tepochs: 3", 17),
        ("seeds: [0, 1]", "seeds: [0, 1", 3),
        ("name: tiny", "name: 'tiny", 23),
        ("seeds: [0, 1]", "seeds: *nowhere", 2),
    ],
)
def test_invalid_yaml(path, old, new, line):
    error = error_of(path, changed(old, new)[0])
    assert error.problem.startswith("not valid YAML: ")
    assert error.line == line


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch executed']",
        "!!python/name:os.system",
        "!mine tiny",
        "!!binary aGVsbG8=",
        "2020-01-01",
        "!!set {tiny}",
    ],
)
@pytest.mark.parametrize("means", ["file", "--set"])
def test_tags_and_special_values_are_refused_and_never_executed(path, value, means, monkeypatch):
    monkeypatch.chdir(path.parent)
    if means == "file":
        error = error_of(path, changed("name: tiny", f"name: {value}")[0])
        assert error.line == 1
    else:
        error = error_of(path, SUITE, f"name={value}")
        assert str(error).startswith("--set name")
    assert not (path.parent / "executed").exists()


def test_a_tag_on_a_mapping_is_refused(path):
    text, line = changed("{method: scratch}", "!!python/object:os.PathLike {method: scratch}")
    assert error_of(path, text).line == line


def test_missing_file(tmp_path):
    with pytest.raises(SuiteError, match=r"nowhere\.yaml does not exist; give the path of a YAML file"):
        load_suite(tmp_path / "nowhere.yaml")


def test_folder_as_suite(tmp_path):
    with pytest.raises(SuiteError, match="cannot read suite file"):
        load_suite(tmp_path)


def test_binary_file(path):
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(SuiteError, match="cannot read suite file") as caught:
        load_suite(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null\n", "- a\n- b\n", "just text\n", "3\n"])
def test_a_file_that_is_no_mapping(path, text):
    error = error_of(path, text)
    assert str(error) == f"{path}:1: a suite is a mapping (name, seeds, data, students, arms, ...)"


def test_anchors_and_merges_work_and_keep_their_lines(path):
    text, line = changed("{method: scratch}", "&s {method: scratch, loos: {}}\n  again: {<<: *s}")
    assert error_of(path, text).line == line
    path.write_text(text.replace(", loos: {}", ""))
    assert load_suite(path).suite.arms["again"].method == "scratch"
