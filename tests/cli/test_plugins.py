"""The commands `new` and `check`: what they print, exit codes, and one line for whatever a user gets wrong."""

from __future__ import annotations

import json

import pytest

PLUGIN = """
from benchbench import Component, hookimpl

print("loaded")

@hookimpl
def benchbench_augmenters():
    return [Component("halved", __name__ + ":halved", summary="a test's")]

def halved(images, size, generator):
    print("called")
    return images * {factor}
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(factor: float = 0.5):
        (tmp_path / "mine.py").write_text(PLUGIN.format(factor=factor))
        return "mine.py"

    return write


class TestCheck:
    def test_a_line_a_check(self, cli, plugin):
        done = cli("check", plugin())
        assert done.code == 0, done.err
        *lines, last = done.out.splitlines()
        assert last == f"{len(lines)} checks, none failed"
        assert "ok       augmenter/halved  range" in lines
        assert all(line.startswith("ok  ") for line in lines)

    def test_a_failure_is_exit_code_1(self, cli, plugin):
        done = cli("check", plugin(factor=2))
        assert done.code == 1
        (failed,) = (line for line in done.out.splitlines() if line.startswith("FAILED"))
        assert failed.startswith("FAILED   augmenter/halved  range: random images leave 0..1")
        assert done.out.endswith(" checks, 1 failed\n")

    def test_json_is_json_whatever_the_plugin_prints(self, cli, plugin):
        done = cli("check", plugin(factor=2), "--json")
        assert done.code == 1
        found = json.loads(done.out)
        assert {"subject": "augmenter/halved", "check": "shape", "status": "ok", "message": ""} in found
        assert {entry["status"] for entry in found} == {"ok", "failed"}
        assert "called" in done.err

    def test_several_and_their_parameters(self, cli, plugin):
        done = cli("check", plugin(), "augmenter/flip", "augmenter/random_crop", "--set", "padding=2")
        assert done.code == 0
        assert "ok       augmenter/random_crop  generator" in done.out.splitlines()

    def test_a_component_of_a_plugin_file(self, cli, plugin):
        assert cli("check", "augmenter/halved", "--plugin", plugin()).code == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "Missing argument 'TARGET...'"),
            (["nowhere.py"], "nowhere.py does not exist"),
            (["mine.py", "nowhere.py"], "nowhere.py does not exist"),
            (["."], "has no pyproject.toml"),
            (["loss/kdd"], "unknown loss 'kdd'; did you mean 'kd'?"),
            (["loss/kd", "--set", "temperature"], "--set temperature: write NAME=VALUE"),
            (["loss/kd", "--set", "temperatur=1"], "takes a parameter 'temperatur'; did you mean 'temperature'?"),
            (["loss/kd", "--set", "temperature=0"], "'kd', parameter 'temperature': Input should be greater than 0"),
            (["student/timm"], "student/timm: a model needs a name: write timm/NAME"),
            (["mine.py", "--modle", "x"], "--modle"),
        ],
    )
    def test_bad_input(self, cli, plugin, arguments, message):
        plugin()
        done = cli("check", *arguments)
        assert (done.code, done.out) == (2, "")
        (line,) = (line for line in done.err.splitlines() if line != "loaded")
        assert line.startswith("error: ")
        assert message in line

    def test_a_plugin_that_does_not_load(self, cli, plugin, tmp_path):
        plugin()
        (tmp_path / "mine.py").write_text("import no_such_module\n")
        done = cli("check", "mine.py")
        assert (done.code, done.out) == (2, "")
        reason = "mine.py did not load: ModuleNotFoundError: No module named 'no_such_module'"
        assert done.err.endswith(f"{reason} (see `benchbench docs plugins`)\n")


class TestNew:
    def test_says_what_to_do_next(self, cli, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        done = cli("new", "augmenter", "my_crop")
        assert (done.code, done.err) == (0, "")
        first, *commands = done.out.splitlines()
        assert first == "written to benchbench-my-crop; benchbench-my-crop/benchbench_my_crop.py is all of it"
        assert [line.split("  #")[0].strip() for line in commands] == [
            "benchbench check benchbench-my-crop",
            "pytest benchbench-my-crop",
            "pip install -e benchbench-my-crop",
            "benchbench list",
        ]

    @pytest.mark.parametrize(
        ("kind", "name", "message"),
        [
            (
                "executor",
                "mine",
                "'executor' is not one of 'loss', 'teacher', 'student', 'head', 'augmenter', 'dataset', 'metri",
            ),
            ("loss", "kd", "there is a loss 'kd' already, from benchbench; choose another name"),
            ("loss", "class", "'class' is a keyword of Python; choose another name"),
            ("loss", "my-loss", "'my-loss' is no name for a plugin: use small letters, digits and _, a letter first"),
            ("loss", "2nd", "is no name for a plugin"),
            ("loss", "Mine", "is no name for a plugin"),
            ("loss", "../mine", "is no name for a plugin"),
            ("loss", "mïne", "is no name for a plugin"),
            ("loss", "_mine", "is no name for a plugin"),
            ("loss", "a\nb", "'a b' is no name for a plugin"),
            ("loss", "x" * 31, "is too long; use at most 30 characters"),
            ("loss", "train_accuracy", "a loss cannot be called 'train_accuracy'"),
            ("report", "taken", "benchbench-taken exists already; give another with --folder DIR"),
        ],
    )
    def test_bad_input(self, cli, tmp_path, monkeypatch, kind, name, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "benchbench-taken").mkdir()
        done = cli("new", kind, name)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert message in done.err
        assert [path.name for path in tmp_path.iterdir()] == ["benchbench-taken"]

    def test_a_name_of_another_kind_is_free(self, cli, tmp_path):
        assert cli("new", "report", "kd", "--folder", tmp_path / "deep" / "kd").code == 0

    def test_a_folder_that_cannot_be_written(self, cli, tmp_path):
        (tmp_path / "file").touch()
        done = cli("new", "loss", "mine", "--folder", tmp_path / "file" / "mine")
        assert done.code == 2
        assert "error: cannot write " in done.err
