"""Suite files: their content, and the one-line error for every mistake that needs no component to be seen."""

from __future__ import annotations

import copy
import textwrap
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from benchbench.errors import SuiteError
from benchbench.suite.document import Override
from benchbench.suite.file import build_suite, load_suite, parse_suite

SUITE = """\
name: tiny
seeds: [0, 1]
data:
  cifar: {source: cifar10_subset, per_class: 4}
students:
  small:
    model: timm/test_efficientnet
    weights: {file: weights.bin}
teachers:
  big:
    model: timm/test_resnet
    adapt:
      scratch: {epochs: 2}
recipes:
  default: {epochs: 1, lr: 1e-3}
  distill:
    epochs: 3
arms:
  scratch: {method: scratch}
  distil:
    method: distill
    loss: {ce: 1, kd: {weight: 2, temperature: 3}}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "suite.yaml"


def error_of(path: Path, text: str, *overrides: str) -> SuiteError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides)
    return caught.value


def changed(old: str, new: str) -> tuple[str, int]:
    """The suite with one part replaced, and the line where the replacement stands."""
    assert SUITE.count(old) == 1, old
    return SUITE.replace(old, new), SUITE[: SUITE.index(old)].count("\n") + 1


def test_reads_a_suite(path):
    path.write_text(SUITE)
    suite = load_suite(path).suite
    assert suite.name == "tiny"
    assert suite.seeds == [0, 1]
    assert suite.data["cifar"].per_class == 4
    assert suite.teachers["big"].adapt["scratch"].epochs == 2
    assert suite.recipes.distill.epochs == 3
    assert [(ref.name, ref.weight, ref.params) for ref in suite.arms["distil"].loss] == [
        ("ce", 1, {}),
        ("kd", 2, {"temperature": 3}),
    ]


def test_a_number_in_e_notation_is_a_float(path):
    # YAML 1.1 would read 1e-3 as text.
    path.write_text(SUITE)
    assert load_suite(path).source.root["recipes"]["default"]["lr"] == 0.001
    assert load_suite(path, ["recipes.default.lr=2e-4"]).suite.recipes.default.lr == 0.0002


def test_yes_and_no_are_text(path):
    text, line = changed("lr: 1e-3", "lr: no")
    error = error_of(path, text)
    assert (error.line, "given: 'no'" in error.problem) == (line, True)


@pytest.mark.parametrize(
    ("old", "new", "loc", "suggestion"),
    [
        ("seeds:", "sedes:", "sedes", "seeds"),
        ("per_class:", "perclass:", "data.cifar.perclass", "per_class"),
        ("model: timm/test_eff", "modle: timm/test_eff", "students.small.modle", "model"),
        ("{file: weights.bin}", "{fiel: weights.bin}", "students.small.weights.fiel", "file"),
        ("adapt:", "adpat:", "teachers.big.adpat", "adapt"),
        ("{epochs: 2}", "{epoch: 2}", "teachers.big.adapt.scratch.epoch", "epochs"),
        ("distill:\n", "distil:\n", "recipes.distil", "distill"),
        ("epochs: 3", "epohs: 3", "recipes.distill.epohs", "epochs"),
        ("method: distill", "methods: distill", "arms.distil.methods", "method"),
    ],
)
def test_unknown_key_at_any_level(path, old, new, loc, suggestion):
    text, line = changed(old, new)
    error = error_of(path, text)
    key = loc.rpartition(".")[2]
    assert str(error) == f"{path}:{line}: {loc}: unknown key '{key}'; did you mean '{suggestion}'?"


def test_unknown_key_that_resembles_nothing_lists_the_known_ones(path):
    text, line = changed("seeds: [0, 1]", "seeds: [0, 1]\nxyzzy: 1")
    error = error_of(path, text)
    assert error.line == line + 1
    for key in ("arms", "data", "recipes", "selection", "seeds"):
        assert key in error.problem


@pytest.mark.parametrize(
    ("old", "new", "loc", "message"),
    [
        ("[0, 1]", "3", "seeds", "write a list"),
        ("[0, 1]", "[0, one]", "seeds.1", "integer"),
        ("[0, 1]", "[]", "seeds", "at least 1"),
        ("[0, 1]", "[2, 2]", "seeds", "differ"),
        ("[0, 1]", "[0, 1]\nstatistics: {margin: 0}", "statistics.margin", "greater than 0"),
        ("[0, 1]", "[0, 1]\nstatistics: {margin: 0.5 points}", "statistics.margin", "write a number"),
        ("[0, 1]", "[0, 1]\nstatistics: {alpha: 95}", "statistics.alpha", "less than or equal to 0.5"),
        ("[0, 1]", "[0, 1]\nstatistics: {marign: 1}", "statistics", "did you mean 'margin'?"),
        ("per_class: 4", "per_class: four", "data.cifar.per_class", "given: 'four'"),
        ("per_class: 4", "per_class: 4, fraction: 0.5", "data.cifar", "fraction or per_class, not both"),
        ("per_class: 4", "fraction: 1.5", "data.cifar.fraction", "less than or equal to 1"),
        ("epochs: 1,", "epochs: 1.5,", "recipes.default.epochs", "given: 1.5"),
        ("epochs: 1,", "epochs: 0,", "recipes.default.epochs", "greater than or equal to 1"),
        ("lr: 1e-3", "lr: .inf", "recipes.default.lr", "finite"),
        ("lr: 1e-3", "lr: .nan", "recipes.default.lr", "finite"),
        ("lr: 1e-3", "lr: inf", "recipes.default.lr", "write a number"),
        ("lr: 1e-3", "augment: flip", "recipes.default.augment", "{name: {parameter: value}}"),
        ("{method: scratch}", "", "arms.scratch", "write a mapping"),
        ("{method: scratch}", "{method: scratchy}", "arms.scratch.method", "'linear_probe'"),
        ("method: distill", "method: distill\n    teachers: []", "arms.distil", "at least one"),
        ("method: distill", "method: distill\n    teachers: [big, big]", "arms.distil", "each once"),
        ("method: distill", "method: distill\n    adapt: []", "arms.distil", "at least one"),
        ("loss: {ce: 1,", "loss: {ce: 0,", "arms.distil.loss.ce", "greater than 0"),
        ("loss: {ce: 1,", "loss: {ce: .inf,", "arms.distil.loss.ce", "finite"),
        ("temperature: 3", "temperature: .inf", "arms.distil.loss.kd.temperature", "finite"),
        ("{weight: 2,", "{weight: -2,", "arms.distil.loss.kd.weight", "greater than 0"),
        ("{ce: 1, kd: {weight: 2, temperature: 3}}", "[ce, kd]", "arms.distil.loss", "{name: weight}"),
        ("{ce: 1, kd: {weight: 2, temperature: 3}}", "{}", "arms.distil.loss", "{name: weight}"),
        ("{file: weights.bin}", "best", "students.small.weights", "write a mapping"),
        ("{file: weights.bin}", "{file: a, pypi: b}", "students.small.weights", "one source"),
        ("{file: weights.bin}", "{file: null}", "students.small.weights", "one source"),
        ("{file: weights.bin}", "{}", "students.small.weights", "one source"),
        ("{file: weights.bin}", "{pypi: a b; c}", "students.small.weights.pypi", "write the name of one package"),
        ("adapt:\n      scratch: {epochs: 2}", "adapt: [{scratch: {}}]", "teachers.big.adapt", "as a list of names"),
        ("scratch: {epochs: 2}", "scratched: {epochs: 2}", "teachers.big.adapt.scratched", "'linear_probe'"),
        ("test_resnet", "test_resnet/1/2", "teachers.big.model", "write SOURCE/NAME"),
    ],
)
def test_wrong_value(path, old, new, loc, message):
    text, line = changed(old, new)
    error = error_of(path, text)
    assert str(error).startswith(f"{path}:{error.line}: {loc}")
    assert error.line in (line, line + 1 if "\n" in new else line)
    assert message in error.problem


@pytest.mark.parametrize("missing", ["name", "seeds", "data", "students", "arms"])
def test_missing_part_of_the_top_level(path, missing):
    lines = SUITE.splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{missing}:"))
    end = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    error = error_of(path, "".join(lines[:start] + lines[end:]))
    assert str(error) == f"{path}: '{missing}' is missing"


@pytest.mark.parametrize(
    ("old", "new", "loc", "missing"),
    [
        ("{method: scratch}", "{}", "arms.scratch", "method"),
        ("{source: cifar10_subset, per_class: 4}", "{per_class: 4}", "data.cifar", "source"),
        ("model: timm/test_efficientnet", "input_size: 32", "students.small", "model"),
    ],
)
def test_missing_part_of_an_entry(path, old, new, loc, missing):
    text, _ = changed(old, new)
    error = error_of(path, text)
    assert error.problem == f"{loc}: '{missing}' is missing"
    assert text.splitlines()[error.line - 1].strip().startswith(loc.rpartition(".")[2])


@pytest.mark.parametrize("label", ["'a.b'", "'=cmd()'", "'@home'", '"two\\nlines"', "' x'", "a|b", "a" * 61])
def test_bad_label(path, label):
    text, line = changed("  scratch: {method", f"  {label}: {{method")
    error = error_of(path, text)
    assert error.line == line
    assert error.problem.startswith("arms.")


@pytest.mark.parametrize("label", ["lite 0", "A/U (KD)", "pre-train + fine-tune", "1"])
def test_good_label(path, label):
    path.write_text(changed("  scratch: {method", f"  {label}: {{method")[0])
    assert label in load_suite(path).suite.arms


def test_a_label_that_yaml_reads_as_a_number_keeps_its_line(path):
    text, line = changed("  scratch: {method: scratch}", "  8: {methd: scratch}")
    error = error_of(path, text)
    assert (error.line, error.problem) == (line, "arms.8.methd: unknown key 'methd'; did you mean 'method'?")


@pytest.mark.parametrize("name", ["../up", "a b", "''", "a" * 61])
def test_bad_suite_name(path, name):
    assert error_of(path, changed("name: tiny", f"name: {name}")[0]).line == 1


def test_duplicate_key(path):
    text, line = changed("  scratch: {method", "  distil: {method: finetune}\n  distil: {method")
    error = error_of(path, text)
    assert str(error) == f"{path}:{line + 1}: duplicate key 'distil'; keep one of them"


def test_best_epoch_needs_a_validation_split(path):
    text, _ = changed("seeds: [0, 1]", "seeds: [0, 1]\nselection: best")
    error = error_of(path, text)
    assert error.line == 3
    assert "validation: 0.1" in error.problem
    path.write_text(text.replace("selection: best", "selection: {rule: best, validation: 0.1}"))
    assert load_suite(path).suite.selection.rule == "best"


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


class TestOverrides:
    def test_replaces_and_adds(self, path):
        path.write_text(SUITE)
        overrides = [
            "seeds=[5]",
            "recipes.default.epochs=9",
            "recipes.scratch.lr=0.5",
            "arms.distil.loss.kd.temperature=1",
            "arms.more={method: scratch}",
        ]
        suite = load_suite(path, overrides).suite
        assert suite.seeds == [5]
        assert (suite.recipes.default.epochs, suite.recipes.default.lr) == (9, 0.001)
        assert suite.recipes.scratch.lr == 0.5
        assert (suite.arms["distil"].loss[1].weight, suite.arms["distil"].loss[1].params) == (2, {"temperature": 1})
        assert list(suite.arms) == ["scratch", "distil", "more"]

    def test_later_ones_win(self, path):
        path.write_text(SUITE)
        assert load_suite(path, ["seeds=[1]", "seeds=[2]"]).suite.seeds == [2]

    def test_a_value_may_hold_an_equals_sign(self, path):
        path.write_text(SUITE)
        assert load_suite(path, ["data.cifar.source={imagefolder: {path: a=b}}"]).suite.data["cifar"].source.params == {
            "path": "a=b"
        }

    def test_changes_what_it_names_and_no_alias_of_it(self, path):
        text, _ = changed("{method: scratch}", "&s {method: scratch, recipe: &r {epochs: 2}}\n  again: {<<: *s}")
        path.write_text(text + "  third: {method: scratch, recipe: *r}\n")
        arms = load_suite(path, ["arms.scratch.recipe.epochs=5"]).suite.arms
        assert [arms[label].recipe.epochs for label in ("scratch", "again", "third")] == [5, 2, 2]

    @pytest.mark.parametrize("override", ["seeds", "=3", "recipes..epochs=3", ".a=1", ""])
    def test_not_key_value(self, path, override):
        error = error_of(path, SUITE, override)
        assert str(error) == f"--set {override}: write KEY=VALUE; for example --set recipes.default.epochs=5"

    @pytest.mark.parametrize("override", ["seeds=[0", "seeds='", "name=a: b: c"])
    def test_value_is_not_yaml(self, path, override):
        assert error_of(path, SUITE, override).problem == f"--set {override}: the value is not valid YAML"

    @pytest.mark.parametrize(
        ("key", "whole"),
        [
            ("seeds.0", "seeds"),
            ("recipes.default.epochs.x", "recipes.default.epochs"),
            # Replacing `1` by a mapping would lose the weight.
            ("arms.distil.loss.ce.label_smoothing", "arms.distil.loss.ce"),
        ],
    )
    def test_key_is_not_inside_a_mapping(self, path, key, whole):
        error = error_of(path, SUITE, f"{key}=0.5")
        assert error.problem == f"--set {key}: '{whole}' is not a mapping in {path}"
        assert f"{whole}=" in error.hint

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("seeds=", "write a list"),
            ("recipes.default.epochs=0", "greater than or equal to 1"),
            ("recipes.default.epoch=2", "did you mean 'epochs'?"),
            ("recipes.default.lr=.inf", "finite"),
            ("teachers=null", "write a mapping"),
            ("arms.more={method: scratchy}", "'linear_probe'"),
            ("arms.more.method=scratchy", "'linear_probe'"),
            ("arms.more.recipe={}", "'method' is missing"),
            ("nonsense.epochs=2", "unknown key 'nonsense'"),
        ],
    )
    def test_bad_value_points_at_the_override_and_at_no_line(self, path, override, message):
        error = error_of(path, SUITE, override)
        key = override.partition("=")[0]
        assert str(error).startswith(f"--set {key}: ")
        assert message in error.problem
        assert error.line is None
        assert str(path) not in str(error)

    def test_a_mapping_that_file_and_override_made_wrong_together_names_both(self, path):
        error = error_of(path, SUITE, "students.small.weights.pypi=some-package")
        assert error.line == 8
        assert "one source" in error.problem
        assert "--set students.small.weights.pypi" in error.problem

    def test_an_error_elsewhere_still_has_its_line(self, path):
        text, line = changed("method: distill", "method: distil")
        assert error_of(path, text, "recipes.default.epochs=3").line == line


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

    def test_home(self, path, monkeypatch):
        monkeypatch.setenv("HOME", str(path.parent / "home"))
        path.write_text(SUITE)
        assert load_suite(path).resolve(Path("~/w.bin")) == path.parent / "home" / "w.bin"

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
