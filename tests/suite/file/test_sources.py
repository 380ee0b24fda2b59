"""Suites that are texts or dictionaries, and files that a suite names."""

from __future__ import annotations

import copy
import os
import textwrap
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from benchbench.errors import SuiteError
from benchbench.suite.document import Override
from benchbench.suite.file import build_suite, load_suite, parse_suite
from tests.suite.file.conftest import SUITE, changed


class TestInPython:
    """Suites that are a text or a dict."""

    DICT: ClassVar = {
        "name": "tiny",
        "seeds": (0, np.int64(1)),
        "data": {"cifar": {"source": "cifar10_subset", "per_class": 4}},
        "students": {"small": {"model": "timm/test_efficientnet", "weights": {"file": Path("weights.bin")}}},
        "recipes": {"default": {"epochs": 1, "lr": np.float32(0.5)}},
        "arms": {"scratch": {"method": "scratch"}},
    }

    def changed(self, part: str, value: object) -> dict[str, object]:
        return {**self.DICT, part: value}

    def test_a_text(self):
        file = parse_suite(SUITE, ["seeds=[7]"])
        assert (file.suite.seeds, file.path, file.folder) == ([7], None, Path())

    def test_a_text_has_lines(self):
        text, line = changed("seeds:", "sedes:")
        with pytest.raises(SuiteError) as caught:
            parse_suite(text)
        assert str(caught.value) == f"YAML text:{line}: sedes: unknown key 'sedes'; did you mean 'seeds'?"
        with pytest.raises(SuiteError, match="YAML text:2: not valid YAML"):
            parse_suite("name: a\nb: c: d\n")

    def test_a_dict(self):
        suite = build_suite(self.DICT).suite
        assert suite.seeds == [0, 1]
        assert [type(seed) for seed in suite.seeds] == [int, int]
        assert suite.students["small"].weights.file == Path("weights.bin")
        assert suite.recipes.default.lr == 0.5

    def test_the_dict_stays_as_it_is(self):
        content = copy.deepcopy(self.DICT)
        build_suite(content, ["recipes.default.epochs=9", "students.small.weights=null"])
        assert content == self.DICT

    @pytest.mark.parametrize(
        ("part", "value", "message"),
        [
            ("sedes", [0], "sedes: unknown key 'sedes'; did you mean 'seeds'?"),
            ("arms", {"a": {"methd": "scratch"}}, "arms.a.methd: unknown key 'methd'; did you mean 'method'?"),
            ("arms", {"a": {}}, "arms.a: 'method' is missing"),
            ("seeds", 3, "seeds: write a list, `[item, item]` (given: 3)"),
            ("seeds", {1}, "seeds: a suite holds text, numbers, lists and mappings, and no set"),
            ("seeds", [float("nan")], "seeds.0: a number must be finite (given: nan)"),
            ("seeds", [np.float64("inf")], "seeds.0: a number must be finite (given: inf)"),
        ],
    )
    def test_keys_in_place_of_a_line(self, part, value, message):
        with pytest.raises(SuiteError) as caught:
            build_suite(self.changed(part, value))
        assert str(caught.value) == message

    def test_one_that_contains_itself(self):
        content = self.changed("recipes", {})
        content["recipes"] = content
        with pytest.raises(SuiteError, match="contains itself"):
            build_suite(content)

    @pytest.mark.parametrize("make", [lambda: parse_suite(SUITE), lambda: build_suite(TestInPython.DICT)])
    def test_later_overrides(self, make):
        """They count beside the first ones, and change neither the suite that they are made from nor its lines."""
        first = make().replace(["recipes.default.epochs=9"])
        second = first.replace([Override("seeds", [5], "argument")])
        assert (first.suite.seeds, second.suite.seeds, second.suite.recipes.default.epochs) == ([0, 1], [5], 9)
        with pytest.raises(SuiteError) as caught:
            first.replace([Override("seeds", ["a"], "argument")])
        assert str(caught.value).startswith("argument seeds: seeds.0: ")
        with pytest.raises(SuiteError, match=r"--set recipes\.default\.epochs: "):
            raise first.error("wrong", ["recipes", "default", "epochs"])
        where = "YAML text:2: wrong" if first.source.has_lines else "seeds: wrong"
        assert str(first.error("wrong", ["seeds"])) == where

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (list(np.arange(2)), "[0, 1]"),
            ({"a": np.float32(0.5)}, '{"a": 0.5}'),
            (Path("a b"), '"a b"'),
        ],
    )
    def test_the_option_of_an_override(self, value, text):
        assert Override("x-mine", value).argument == f"x-mine={text}"
        assert build_suite(self.DICT, [Override("x-mine", value).argument]).suite.name == "tiny"

    def test_repr(self, path):
        path.write_text(SUITE)
        assert repr(load_suite(path)) == f"<suite tiny: 2 arms, 1 data set, 1 student, 2 seeds; {path}>"
        assert repr(build_suite(self.DICT)) == "<suite tiny: 1 arm, 1 data set, 1 student, 2 seeds>"


class TestPaths:
    def test_beside_the_suite_goes_before_the_current_directory(self, tmp_path, monkeypatch):
        suite, here = tmp_path / "suites" / "s.yaml", tmp_path / "here"
        suite.parent.mkdir()
        here.mkdir()
        suite.write_text(SUITE)
        monkeypatch.chdir(here)
        file = load_suite(suite)
        (here / "w.bin").touch()
        assert file.resolve(Path("w.bin")) == here / "w.bin"
        (suite.parent / "w.bin").touch()
        assert file.resolve(Path("w.bin")) == suite.parent / "w.bin"

    def test_absent_everywhere_is_beside_the_suite(self, path):
        path.write_text(SUITE)
        assert load_suite(path).resolve(Path("nowhere")) == path.parent / "nowhere"

    def test_a_folder_whose_name_is_no_utf8(self, tmp_path):
        path = tmp_path / os.fsdecode(b"caf\xe9") / "suite.yaml"
        path.parent.mkdir()
        path.write_text(SUITE)
        with pytest.raises(SuiteError, match=r"suite\.yaml:8: the name of .*caf\\udce9/w\.bin is no UTF-8; rename it$"):
            load_suite(path).resolve(Path("w.bin"), ["students", "small", "weights", "file"])

    def test_home(self, path, monkeypatch):
        monkeypatch.setenv("HOME", str(path.parent / "home"))
        path.write_text(SUITE)
        assert load_suite(path).resolve(Path("~/w.bin")) == path.parent / "home" / "w.bin"

    def test_environment_variables(self, path, monkeypatch):
        monkeypatch.setenv("PHOTOS", str(path.parent / "photos"))
        path.write_text(SUITE.replace("weights.bin", "$PHTOS/w.bin"))
        file, weights = load_suite(path), ["students", "small", "weights", "file"]
        for written in ("$PHOTOS/w.bin", "${PHOTOS}/w.bin"):
            assert file.resolve(Path(written)) == path.parent / "photos" / "w.bin"
        with pytest.raises(SuiteError) as caught:
            file.resolve(Path("$PHTOS/w.bin"), weights)
        problem = "the environment variable 'PHTOS' of '$PHTOS/w.bin' is not set; did you mean 'PHOTOS'?"
        assert str(caught.value) == f"{path}:8: {problem}"
        monkeypatch.chdir(path.parent)
        (path.parent / "$PHTOS").mkdir()
        assert file.resolve(Path("$PHTOS")) == path.parent / "$PHTOS"

    def test_plugin_files(self, path):
        text = SUITE + textwrap.dedent(
            """\
            plugins:
              - ./there.py
              - ./missing.py
            """
        )
        (path.parent / "there.py").touch()
        path.write_text(text)
        with pytest.raises(SuiteError) as caught:
            load_suite(path).plugin_files()
        assert str(caught.value) == f"{path}:{text.count(chr(10))}: plugin file ./missing.py does not exist"
        (path.parent / "missing.py").touch()
        assert load_suite(path).plugin_files() == [path.parent / "there.py", path.parent / "missing.py"]
