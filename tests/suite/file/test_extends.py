"""Suites that extend others: what is merged, and which file an error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.errors import SuiteError
from benchbench.suite.file import SuiteFile, build_suite, load_suite, parse_suite
from benchbench.suite.shipped import shipped_suite
from tests.suite.file.conftest import SUITE

CHILD = """\
name: child
extends: ../base.yaml
data:
  cifar: {per_class: 8}
recipes:
  default: {lr: 1e-2}
arms:
  distil:
    loss: {dkd: 1}
  scratch: null
  more: {method: scratch}
"""


@pytest.fixture
def child(tmp_path) -> Path:
    (tmp_path / "base.yaml").write_text(SUITE)
    path = tmp_path / "own" / "suite.yaml"
    path.parent.mkdir()
    path.write_text(CHILD)
    return path


def error_of(path: Path, old: str, new: str, *overrides: str) -> str:
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides)
    path.write_text(text)
    return str(caught.value).replace(str(path.parent.parent), "")


def test_mappings_are_merged_and_all_else_is_replaced(child):
    suite = load_suite(child).suite
    assert (suite.name, suite.seeds, suite.extends) == ("child", [0, 1], None)
    assert (suite.data["cifar"].source.name, suite.data["cifar"].per_class) == ("cifar10_subset", 8)
    assert (suite.recipes.default.epochs, suite.recipes.default.lr) == (1, 0.01)
    assert [*suite.arms] == ["distil", "more"]  # those of the base come first
    assert [(ref.name, ref.weight) for ref in suite.arms["distil"].loss] == [("dkd", 1)]


def test_a_component_keeps_its_parameters_and_another_one_replaces_it(child):
    base = child.parent.parent / "base.yaml"
    source = "source: {imagefolder: {path: a, exif: apply}}"
    base.write_text(SUITE.replace("source: cifar10_subset, per_class: 4", source))
    child.write_text(CHILD.replace("{per_class: 8}", "{source: {imagefolder: {path: b}}}"))
    assert load_suite(child).suite.data["cifar"].source.params == {"path": "b", "exif": "apply"}
    child.write_text(CHILD.replace("{per_class: 8}", "{source: {csv: {path: b.csv}}}"))
    assert load_suite(child).suite.data["cifar"].source.params == {"path": "b.csv"}


def test_chains_and_suites_that_ship(child):
    last = child.with_name("last.yaml")
    last.write_text("name: last\nextends: suite.yaml\nseeds: [5]\n")
    assert (load_suite(last).suite.seeds, load_suite(last).suite.data["cifar"].per_class) == ([5], 8)
    text = "name: mine\nextends: quickstart\nseeds: [7]\n"
    shipped = load_suite(shipped_suite("quickstart")).suite
    for file in (parse_suite(text), build_suite({"name": "mine", "extends": "quickstart", "seeds": [7]})):
        assert file.suite == shipped.model_copy(update={"name": "mine", "seeds": [7]})


def test_overrides_come_last_and_anchors_stay_apart(child):
    base = child.parent.parent / "base.yaml"
    base.write_text(SUITE.replace("scratch: {method: scratch}", "scratch: &s {method: scratch}\n  twin: *s"))
    child.write_text(CHILD.replace("  scratch: null\n", "  scratch: {recipe: {epochs: 9}}\n"))
    suite = load_suite(child, ["arms.more.recipe.epochs=4"]).suite
    epochs = {label: suite.arms[label].recipe.epochs for label in ("scratch", "twin", "more")}
    assert epochs == {"scratch": 9, "twin": 10, "more": 4}


def test_errors_name_the_file_that_a_value_stands_in(child):
    base = child.parent.parent / "base.yaml"
    assert error_of(child, "lr: 1e-2", "lr: no").startswith("/own/suite.yaml:6: recipes.default.lr: ")
    assert error_of(child, "{dkd: 1}", "{dkd: -1}").startswith("/own/suite.yaml:9: arms.distil.loss")
    assert error_of(child, "method: scratch", "method: scrath").startswith("/own/suite.yaml:11: arms.more.method: ")
    assert error_of(child, "  scratch: null\n", "  scrath: null\n") == (
        "/own/suite.yaml:10: arms: there is no 'scrath' to take out; did you mean 'scratch'?"
    )
    base.write_text(SUITE.replace("epochs: 1, lr", "epochs: zero, lr"))
    (line,) = [number for number, text in enumerate(SUITE.splitlines(), 1) if "epochs: 1, lr" in text]
    with pytest.raises(SuiteError, match=rf"base\.yaml:{line}: recipes\.default\.epochs: "):
        load_suite(child)
    base.write_text(SUITE.replace("model: timm/test_resnet", "modle: timm/test_resnet"))
    with pytest.raises(SuiteError, match=r"base\.yaml:11: teachers\.big\.modle: unknown key 'modle'"):
        load_suite(child)
    base.write_text(SUITE.replace("seeds: [0, 1]", "seeds: [0, 1"))
    with pytest.raises(SuiteError, match=r"base\.yaml:\d+: not valid YAML"):
        load_suite(child)


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("extends: ../bas.yaml", "/own/suite.yaml:2: extends: there is no file "),
        ("extends: quickstrt", "and no suite 'quickstrt' ships; did you mean 'quickstart'?"),
        ("extends: suit.yaml", "did you mean 'suite.yaml'?"),
        ("extends: suite.yaml", "in a circle: suite.yaml -> suite.yaml; take one of them out"),
        ("extends: [a, b]", "/own/suite.yaml:2: extends: write the path of one suite file"),
        ("extends: $NO_SUCH/a.yaml", "the environment variable 'NO_SUCH' of '$NO_SUCH/a.yaml' is not set"),
        ("extends: ..", "there is no file"),
    ],
)
def test_bases_that_cannot_be(child, new, problem):
    assert problem in error_of(child, "extends: ../base.yaml", new)


def test_longer_circles_a_missing_name_and_overrides(child):
    base = child.parent.parent / "base.yaml"
    assert error_of(child, "name: child\n", "").startswith(
        "/own/suite.yaml:1: a suite that extends another needs a `name` of its own"
    )
    with pytest.raises(SuiteError, match="--set extends: extends is read from the file alone"):
        load_suite(child, ["extends=quickstart"])
    base.write_text("name: base\nextends: own/suite.yaml\n")
    with pytest.raises(SuiteError, match=r"base\.yaml:2: .* in a circle: suite\.yaml -> base\.yaml -> suite\.yaml"):
        load_suite(child)


def test_paths_are_relative_to_the_file_that_they_stand_in(child):
    root = child.parent.parent
    (root / "images").mkdir()
    (root / "own" / "more").mkdir()
    (root / "base.yaml").write_text(SUITE + "plugins: [one.py]\n")
    (root / "one.py").write_text("")
    file: SuiteFile = load_suite(child)
    assert [each.resolve() for each in file.plugin_files()] == [root / "one.py"]
    assert file.resolve(Path("images"), ["data", "cifar", "source"]).resolve() == root / "images"
    assert file.resolve(Path("more"), ["arms", "more"]) == root / "own" / "more"


def test_keys_do_not_depend_on_it(child, tiny_suite, plan_of, tmp_path):
    path = tiny_suite(tmp_path / "tiny")
    own = tmp_path / "tiny" / "own.yaml"
    own.write_text("name: own\nextends: suite.yaml\n")
    assert {*plan_of(own).stages} == {*plan_of(path).stages}


def test_parts_of_the_file_in_the_middle_are_its_own(child, tmp_path):
    """A path and an error of a part that the middle one of three files gives."""
    middle = tmp_path / "middle" / "suite.yaml"
    middle.parent.mkdir()
    middle.write_text("name: middle\nextends: ../base.yaml\nrecipes:\n  finetune:\n    epochs: 3\n")
    child.write_text("name: child\nextends: ../middle/suite.yaml\n")
    loaded = load_suite(child)
    places = {"recipes.finetune.epochs": "middle", "arms": ".", "name": "own"}
    for loc, folder in places.items():
        found = loaded.resolve(Path("w.pth"), tuple(loc.split("."))).resolve()
        assert found == (tmp_path / folder / "w.pth").resolve(), loc
    middle.write_text(middle.read_text().replace("epochs: 3", "epochs: three"))
    with pytest.raises(SuiteError, match=r"middle/suite\.yaml:5: "):
        load_suite(child)
