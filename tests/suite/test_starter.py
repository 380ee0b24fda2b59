"""`benchbench new suite`: the file that it writes is the suite that it copies, with a comment at each part."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchbench.suite.file import load_suite
from benchbench.suite.shipped import shipped_suite, shipped_suites
from benchbench.suite.starter import new_suite


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("base", shipped_suites())
def test_it_differs_from_the_copied_suite_by_its_name_alone(base):
    path = new_suite("mine", base, Path("a/b"))
    assert path == Path("a/b/mine.yaml")
    suite = load_suite(path).suite
    assert suite.name == "mine"
    assert suite.model_copy(update={"name": base}) == load_suite(shipped_suite(base)).suite


@pytest.mark.parametrize("base", shipped_suites())
def test_every_part_has_a_comment(base):
    lines = new_suite("mine", base).read_text().splitlines()
    parts = [f"{key}:" for key in YAML().load(shipped_suite(base).read_text())]
    for part in parts:
        number = next(number for number, line in enumerate(lines) if line.startswith(part))
        assert lines[number - 1].startswith("# "), part
        assert lines[number - 1].endswith("."), part
    assert max(map(len, lines)) <= 120
    comments = [line for line in lines if line.startswith("#")]
    assert not any("{{" in comment or "\0" in comment or "{name}" in comment for comment in comments)


def test_the_command_says_what_comes_next(cli):
    done = cli("new", "suite", "leaves", "--from", "cifar")
    assert (done.code, done.err) == (0, "")
    first, *commands = done.out.splitlines()
    assert first == "written to leaves.yaml, a copy of cifar to change"
    assert [line.split("  #")[0].strip() for line in commands] == [
        "benchbench plan leaves.yaml",
        "benchbench run leaves.yaml",
        "benchbench list",
    ]
    assert "the suite `cifar`" in Path("leaves.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suite", "mine", "--from", "quikstart"], "no suite 'quikstart' ships with benchbench; did you mean 'quick"),
        (["suite", "taken"], "taken.yaml exists already; choose another name, or another --folder DIR"),
        (["suite", "../mine"], "'../mine' is no name for a suite: a suite's name is made of letters, digits, - and _"),
        (["suite", "a\nb"], "'a b' is no name for a suite"),
        (["suite", "x" * 61], "at most 60"),
        (["suite", "mine", "--folder", "taken.yaml"], "'taken.yaml' is a file"),
        (
            ["loss", "mine", "--from", "cifar"],
            "--from names the suite that a new suite copies; leave it out for a loss",
        ),
    ],
)
def test_bad_input(cli, arguments, message):
    Path("taken.yaml").write_text("mine")
    done = cli("new", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert Path("taken.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["2024", "2024-05-01", "007", "1e3", "null", "True", "a_1"])
def test_a_name_that_yaml_reads_as_something_else_is_a_name(name):
    assert load_suite(new_suite(name)).suite.name == name
