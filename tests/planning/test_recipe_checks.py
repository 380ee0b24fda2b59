"""Recipes that a data set does not allow: one line at the field."""

from __future__ import annotations

import pytest

from benchbench.data.info import DataInfo
from benchbench.data.sources.bundled import Cifar10SubsetParams
from benchbench.errors import SuiteError

SYNTHETIC = {"synthetic": {"more": {"source": "same_class_mixup", "times": 1}}}


@pytest.mark.parametrize(
    ("override", "place", "words"),
    [
        ("arms.scratch.recipe.early_stop={patience: 2}", "early_stop", "add `selection: {validation: 0.1}`"),
        ("recipes.default.early_stop={patience: 0}", "early_stop.patience", "greater than or equal to 1"),
        ("recipes.default.early_stop=5", "recipes.default.early_stop", "write a mapping"),
        (
            "recipes.default.class_weights={catt: 2}",
            "recipes.default.class_weights",
            "no class 'catt'; did you mean 'cat'?",
        ),
        ("recipes.default.class_weights=even", "recipes.default.class_weights", "write `balanced`, or a mapping"),
        (
            "recipes.default.class_weights={cat: 0}",
            "recipes.default.class_weights",
            "of class 'cat' is a number above 0",
        ),
        ("arms.scratch={method: scratch, synthetic: more, recipe: {sampling: balanced}}", "sampling", "generated ones"),
        ("recipes.default.sampling=even", "recipes.default.sampling", "'shuffled' or 'balanced'"),
        ("recipes.default.compile=true", "recipes.default.compile", "take `compile: auto`, or another precision"),
        ("arms.distil.recipe.fold_bn=true", "arms.distil.recipe.fold_bn", "`precision: exact` runs a network as"),
    ],
)
def test_one_line_at_the_field(plan_of, tiny_suite, tmp_path, monkeypatch, override, place, words):
    info = DataInfo(10, 1000, 1000, "", ("cat", "dog", *"abcdefgh"))
    monkeypatch.setattr(Cifar10SubsetParams, "info", lambda self, root: info)
    with pytest.raises(SuiteError) as caught:
        plan_of(tiny_suite(tmp_path, **SYNTHETIC), override)
    text = str(caught.value)
    assert words in text
    assert place in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("changes", ["compile: false, fold_bn: false", "compile: true, precision: bf16"])
def test_a_fixed_execution_goes_with_its_precision(plan_of, tiny_suite, tmp_path, changes):
    plan = plan_of(tiny_suite(tmp_path), f"recipes.scratch={{{changes}}}")
    spec = plan.stages[plan.cells[0].stage].spec
    assert spec.recipe.compile is ("true" in changes)


def test_what_is_there_is_planned(plan_of, tiny_suite, tmp_path):
    recipe = "recipes.default={class_weights: {cat: 2}, sampling: balanced, early_stop: {patience: 3}}"
    plan = plan_of(tiny_suite(tmp_path), recipe, "selection={rule: best, validation: 0.5}")
    spec = plan.stages[plan.cells[0].stage].spec
    assert spec.recipe.class_weights == {"cat": 2.0}
    assert (spec.recipe.early_stop.patience, spec.recipe.early_stop.min_delta) == (3, 0)
