"""The commands `export`, `merge` and `compare`: what they print, exit codes, and one line for what is wrong."""

from __future__ import annotations

import json

import pytest

from benchbench.store import Store


class TestExport:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "Missing argument 'CELL'"),
            (["ab"], "no finished training in store runs has a key that begins with 'ab'; there is none"),
            (["ab", "--licence", "a: b\n"], "'a: b\\n' is no licence's identifier; write it as SPDX does: MIT,"),
            (["ab", "--store", "file"], "Directory 'file' is a file"),
            (["ab", "--plugin", "none.py"], "no finished training"),
            (["ab", "--onx"], "No such option '--onx'."),
        ],
    )
    def test_bad_input(self, cli, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        done = cli("export", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert message in done.err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_store_of_another_format(self, cli, tmp_path):
        (tmp_path / "store.json").write_text('{"format": 99}')
        done = cli("export", "ab", "--store", tmp_path)
        assert done.code == 2
        assert "(format 99; this one reads 2); use another --store DIR" in done.err


HEADER = "row,data,student,seed,status,accuracy,key\n"


class TestCompare:
    @pytest.fixture
    def files(self, tmp_path, tiny_suite, monkeypatch):
        """Two suites that differ in epochs and temperature, and the results of an earlier one."""
        monkeypatch.chdir(tmp_path)
        tiny_suite(tmp_path / "old")
        recipes = {"default": {"epochs": 2, "batch_size": 20, "image_size": 32}}
        arms = {"distil": {"method": "distill", "loss": {"ce": 1, "kd": {"temperature": 2}}}}
        tiny_suite(tmp_path / "new", recipes=recipes, arms=arms)
        (tmp_path / "results.csv").write_text(HEADER + "scratch,cifar,small,0,done,0.5,ab\n")

    def test_two_suites(self, cli, files):
        done = cli("compare", "old/suite.yaml", "new/suite.yaml")
        assert (done.code, done.err) == (0, "")
        words = [line.split() for line in done.out.splitlines()]
        assert ["old/suite.yaml", "scratch", "cifar", "small", "0,", "1"] in words
        assert ["recipe.epochs", "1", "2", "2"] in words
        assert ["loss.kd.params.temperature", "4.0", "2.0", "2"] in words
        assert ["teacher0:", "recipe.epochs", "1", "2", "2"] in words
        assert done.out.splitlines()[-1] == "no row is done on both sides"

    def test_json(self, cli, files):
        done = cli("compare", "results.csv", "old/suite.yaml", "--json")
        assert done.code == 0, done.err
        found = json.loads(done.out)
        assert (found["a"], found["shared"], found["unknown"]) == ("results.csv", 1, 1)
        assert [cell["seed"] for cell in found["only_b"]] == [1, 0, 1]

    def test_the_specs_of_results_are_in_their_store(self, cli, files, plan_of, tmp_path):
        plan = plan_of(tmp_path / "old" / "suite.yaml")
        store = Store(tmp_path / "kept")
        store.open()
        for stage in plan.stages.values():
            folder = store.stage(stage.kind, stage.key)
            folder.path.mkdir(parents=True)
            folder.write_spec(stage.spec)
        cells = [f'"{cell.row}",cifar,small,{cell.seed},done,0.5,{cell.stage}\n' for cell in plan.cells]
        (tmp_path / "results.csv").write_text(HEADER + "".join(cells))
        done = cli("compare", "results.csv@kept", "new/suite.yaml", "--json")
        assert done.code == 0, done.err
        found = json.loads(done.out)
        assert found["unknown"] == 0
        assert {change["what"] for change in found["changes"]} >= {"recipe.epochs", "teacher0: recipe.epochs"}

    def test_text_of_a_file_is_not_obeyed(self, cli, files, tmp_path):
        (tmp_path / "results.csv").write_text(HEADER + '"\x1b[2Jboo",cifar,small,0,done,0.5,ab\n')
        done = cli("compare", "results.csv", "results.csv")
        assert done.code == 0
        assert "\x1b" not in done.out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["old/suite.yaml"], "Missing argument 'B'"),
            (["none.yaml", "old/suite.yaml"], "suite file none.yaml does not exist"),
            (["none.csv", "old/suite.yaml"], "none.csv does not exist; give a suite file or a results.csv"),
            (["old/suite.yaml@none", "old/suite.yaml"], "none is no store: it has no store.json"),
            (["old/suite.yaml", "bad.csv"], "bad.csv:3: accuracy is good, not a number in 0..1"),
            (["old/suite.yaml", "twice.csv"], "twice.csv:3: the same cell as in a line above"),
            (
                ["old/suite.yaml", "other.csv"],
                "other.csv is no results.csv of `benchbench report`: it has no column 'ro",
            ),
            (["old/suite.yaml", "empty.csv"], "empty.csv cannot be read as CSV"),
            (["old/suite.yaml", "binary.csv"], "binary.csv cannot be read as CSV"),
            (["old/suite.yaml", "seed.csv"], "seed.csv:2: seed is one, not a whole number"),
        ],
    )
    def test_bad_input(self, cli, files, tmp_path, arguments, message):
        line = "scratch,cifar,small,0,done,0.5,ab\n"
        texts = {
            "bad": HEADER + line + line.replace("0.5", "good"),
            "twice": HEADER + line + line,
            "other": "a,b\n1,2\n",
            "empty": "",
            "seed": HEADER + line.replace(",0,", ",one,"),
        }
        for name, text in texts.items():
            (tmp_path / f"{name}.csv").write_text(text)
        (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80" * 9)
        done = cli("compare", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert message in done.err
