"""Ladders: an arm of several lengths."""

from __future__ import annotations

from typing import Any

import pytest

from benchbench.errors import SuiteError

KD = {"method": "distill", "loss": {"ce": 1, "kd": 1}}


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path):
    def make(epochs: Any, arm: dict[str, Any] = KD, **arms: Any):
        ladder = {**arm, "recipe": {"epochs": epochs, "lr": 0.5}}
        return plan_of(tiny_suite(tmp_path, seeds=[0], arms={"ladder": ladder, **arms}))

    return make


def test_a_ladder_has_a_row_for_each_length(planned):
    plan = planned([1, 3, 10])
    rows = ["ladder, big (scratch) (1 epoch)", "ladder, big (scratch) (3 epochs)", "ladder, big (scratch) (10 epochs)"]
    assert [cell.row for cell in plan.cells] == rows
    assert {cell.ladder for cell in plan.cells} == {"ladder, big (scratch)"}
    assert {cell.arm for cell in plan.cells} == {"ladder"}
    recipes = [plan.stages[cell.stage].spec.recipe for cell in plan.cells]
    assert [recipe.epochs for recipe in recipes] == [1, 3, 10]
    assert {recipe.lr for recipe in recipes} == {0.5}
    assert len([stage for stage in plan.stages.values() if stage.kind == "teacher"]) == 1


def test_one_rung_is_the_same_stage_as_an_arm_of_that_length(planned):
    plan = planned([1, 3], KD, plain={**KD, "recipe": {"epochs": 3, "lr": 0.5}})
    first, second, plain = plan.cells
    assert second.stage == plain.stage != first.stage
    assert plain.ladder is None


@pytest.mark.parametrize(
    ("epochs", "arm", "message"),
    [
        ([], KD, "two lengths or more"),
        ([5], KD, "two lengths or more"),
        ([5, 3], KD, "the lengths of a ladder rise"),
        ([3, 3], KD, "the lengths of a ladder rise"),
        ([0, 3], KD, "from 1 to 1,000,000"),
        ([1.5, 3], KD, "a whole number .*given: 1.5"),
        (["3", 5], KD, "a whole number .*given: '3'"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused_with_its_place(planned, epochs, arm, message):
    with pytest.raises(SuiteError, match=message) as refusal:
        planned(epochs, arm)
    assert "suite.yaml:" in str(refusal.value)


def test_no_other_arm_has_the_row_of_a_rung(planned):
    message = (
        r"suite\.yaml:\d+: arms 'ladder' and 'ladder \(1 epoch\)' both have the row 'ladder \(1 epoch\)'; give one"
    )
    with pytest.raises(SuiteError, match=message):
        planned([1, 3], {"method": "scratch"}, **{"ladder (1 epoch)": {"method": "scratch", "recipe": {"lr": 0.1}}})


def test_no_arm_goes_on_from_a_ladder(planned):
    with pytest.raises(SuiteError, match="has 2 rows"):
        planned([1, 2], KD, on={"method": "finetune", "start": "ladder"})
