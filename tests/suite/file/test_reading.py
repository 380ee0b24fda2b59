"""Reading a suite file: values, labels, and errors with the line that they are about."""

from __future__ import annotations

import pytest

from benchbench.suite.file import load_suite
from tests.suite.file.conftest import SUITE, changed, error_of


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
        ("[0, 1]", "[0, 9223372036854775808]", "seeds.1", "less than"),
        ("[0, 1]", "[0, 1]\nfactors: {price: true}", "factors.price", "write a number"),
        ("[0, 1]", "[0, 1]\nfactors: {watts: '5'}", "factors.watts", "write a number"),
        (
            "[0, 1]",
            "[0, 1]\npublished: [{source: a, data: b, teachers: {big: true}}]",
            "published.0.teachers",
            "a number",
        ),
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
        ("lr: 1e-3", f"lr: 0x{'f' * 4000}", "recipes.default.lr", "below 2^64"),
        ("lr: 1e-3", 'optimizer: "\\ud800"', "recipes.default.optimizer", "has half a character"),
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
        ("{ce: 1, kd: {weight: 2, temperature: 3}}", "[ce, [kd]]", "arms.distil.loss", "{name: weight}"),
        ("{ce: 1, kd: {weight: 2, temperature: 3}}", "[ce, kd: 1, ce: 2]", "arms.distil.loss", "'ce' is listed twice"),
        ("{ce: 1, kd: {weight: 2, temperature: 3}}", "[ce, {kd: 0}]", "arms.distil.loss.1", "greater than 0"),
        ("{ce: 1, kd: {weight: 2, temperature: 3}}", "{}", "arms.distil.loss", "{name: weight}"),
        ("{file: weights.bin}", "[best]", "students.small.weights", "write a mapping"),
        ("{file: weights.bin}", "weights.bin", "students.small.weights", "`{file: PATH}`"),
        ("{file: weights.bin}", "w/best", "students.small.weights", "`{file: PATH}`"),
        ("{file: weights.bin}", "{pretrained: a, part: b}", "students.small.weights", "a file or pypi"),
        ("{file: weights.bin}", "{file: a, pypi: b}", "students.small.weights", "one source"),
        ("{file: weights.bin}", "{file: null}", "students.small.weights", "one source"),
        ("{file: weights.bin}", "{}", "students.small.weights", "one source"),
        ("{file: weights.bin}", "{pypi: a b; c}", "students.small.weights.pypi", "write the name of one package"),
        ("adapt:\n      scratch: {epochs: 2}", "adapt: [{a: {}, b: {}}]", "teachers.big.adapt", "as a list of names"),
        ("adapt:\n      scratch: {epochs: 2}", "adapt: [scratch, scratch]", "teachers.big.adapt", "is listed twice"),
        (
            "adapt:\n      scratch: {epochs: 2}",
            "adapt: [finetune, {scratch: {epochs: 0}}]",
            "teachers.big.adapt.1.scratch.epochs",
            "greater than or equal to 1",
        ),
        ("method: distill", "method: distill\n    adapt: [{scratch: {}}]", "arms.distil", "write names alone"),
        ("lr: 1e-3}", "milestones: [3, 2]}", "recipes.default.milestones", "milestones rise"),
        ("lr: 1e-3}", "milestones: [3], schedule: cosine}", "recipes.default", "`schedule: step` alone"),
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
    assert str(error) == f"{path}:1: '{missing}' is missing"


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


@pytest.mark.parametrize(
    "label",
    [
        "'=cmd()'",
        "'@home'",
        '"a\\nb"',
        "' x'",
        "'x '",
        "a|b",
        "a<b",
        "a$b",
        "'*'",
        "a" * 61,
        '"a\\u202eb"',
        '""',
        "'%a'",
    ],
)
def test_bad_label(path, label):
    text, line = changed("  scratch: {method", f"  {label}: {{method")
    error = error_of(path, text)
    assert error.line == line
    assert error.problem.startswith("arms.")


@pytest.mark.parametrize(
    "label",
    [
        "lite 0",
        "A/U (KD)",
        "pre-train + fine-tune",
        "1",
        "012",
        "1e3",
        "true",
        "2020-01-01",
        "T=4.5",
        "50 %",
        "é→日本",
        "no",
    ],
)
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
