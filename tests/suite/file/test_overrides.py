"""Overrides of a suite file."""

from __future__ import annotations

import pytest

from benchbench.suite.file import load_suite
from tests.suite.file.conftest import SUITE, changed, error_of


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
            ("seeds.0", "seeds=[value, value]"),
            ("recipes.default.epochs.x", "recipes.default.epochs"),
            # Replacing `1` by a mapping would lose the weight.
            ("arms.distil.loss.ce.label_smoothing", "arms.distil.loss.ce"),
        ],
    )
    def test_key_is_not_inside_a_mapping(self, path, key, whole):
        error = error_of(path, SUITE, f"{key}=0.5")
        assert error.problem == f"--set {key}: '{whole.partition('=')[0]}' is not a mapping in {path}"
        assert (whole if "=" in whole else f"{whole}={{key: value}}") in error.hint

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

    def test_a_backslash_before_the_dots_and_equals_signs_of_a_label(self, path):
        text, _ = changed("  scratch: {method", "  T=4.5 é: {method")
        path.write_text(text)
        arms = load_suite(path, [r"arms.T\=4\.5 é.recipe.epochs=7"]).suite.arms
        assert list(arms) == ["T=4.5 é", "distil"]
        assert arms["T=4.5 é"].recipe.epochs == 7
        error = error_of(path, text, r"arms.T\=4\.5 é.recipe.epochs=0")
        assert str(error).startswith(r"--set arms.T\=4\.5 é.recipe.epochs: arms.T\=4\.5 é.recipe.epochs: ")

    def test_dots_of_a_label_that_no_backslash_stands_before(self, path):
        text, _ = changed("  scratch: {method", "  v1.5: {method")
        error = error_of(path, text, "arms.v1.5.recipe.epochs=3")
        assert error.hint == r"write the dots of a label with a backslash: arms.v1\.5"
        assert list(load_suite(path, ["arms.v1.method=finetune"]).suite.arms) == ["v1.5", "distil", "v1"]

    def test_an_error_elsewhere_still_has_its_line(self, path):
        text, line = changed("method: distill", "method: distil")
        assert error_of(path, text, "recipes.default.epochs=3").line == line

    def test_null_takes_a_label_out(self, path):
        path.write_text(SUITE)
        assert list(load_suite(path, ["arms.distil=null"]).suite.arms) == ["scratch"]
        assert list(load_suite(path, ["arms.a={method: scratch}", "arms.a=null"]).suite.arms) == ["scratch", "distil"]

    def test_null_of_no_label(self, path):
        error = error_of(path, SUITE, "arms.distill=null")
        assert str(error) == "--set arms.distill: there is no 'distill' to take out; did you mean 'distil'?"

    def test_keys_of_the_author_s_own_hold_anchors(self, path):
        text, _ = changed("{method: scratch}", "*plain")
        path.write_text("x-arms: {plain: &plain {method: scratch}}\n" + text)
        assert load_suite(path).suite.arms["scratch"].method == "scratch"
        assert "'y-arms'" in str(error_of(path, "y-arms: {}\n" + SUITE))
