"""Searches: the trials of an arm, the cells that choose among them, and searches that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from benchbench.errors import SuiteError
from benchbench.planning.model import Plan
from benchbench.specs.stages import OTHER_SEEDS
from benchbench.stages import SEARCHED, runner_of

KD = {"method": "distill", "loss": {"ce": 1, "kd": {"weight": 1, "temperature": 4}}}


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path):
    def make(search: Any, arm: dict[str, Any] = KD, overrides: tuple[str, ...] = (), **changes: Any) -> Plan:
        arms = {"KD": {**arm, "search": search}, **changes.pop("arms", {})}
        suite = {"selection": {"validation": 0.25}, "arms": arms, **changes}
        return plan_of(tiny_suite(tmp_path, **suite), *overrides)

    return make


def specs(plan: Plan) -> list[Any]:
    """Specs of the trials of the first cell."""
    return [plan.stages[trial.stage].spec for trial in plan.cells[0].trials]


def test_lists_give_every_combination_with_every_seed(planned):
    plan = planned({"recipe.lr": [0.01, 0.05], "loss.kd.temperature": [2, 4, 8], "loss.ce.weight": [0.5]})
    rates = [(spec.recipe.lr, spec.loss[1].params["temperature"], spec.loss[0].weight) for spec in specs(plan)]
    assert rates == [(lr, temperature, 0.5) for lr in (0.01, 0.05) for temperature in (2, 4, 8)]
    assert plan.cells[0].trials[1].values == "lr 0.01, kd.temperature 4, ce.weight 0.5"
    trials = [stage for stage in plan.stages.values() if stage.kind == "trial"]
    assert len(trials) == 2 * 6
    assert len({stage.cohort for stage in trials}) == 2  # of a seed all side by side
    assert [cell.row for cell in plan.cells] == ["KD, big (scratch)"] * 2


def test_a_cell_waits_for_the_trials_of_every_seed_and_trains_nothing(planned):
    plan = planned({"recipe.lr": [0.01, 0.05]})
    trials = {trial.stage for cell in plan.cells for trial in cell.trials}
    for cell in plan.cells:
        stage = plan.stages[cell.stage]
        assert runner_of(stage.spec) == SEARCHED
        assert trials < set(stage.needs.values())
        assert stage.cohort is None
        own = {key for role, key in stage.needs.items() if role.startswith("trial")}
        assert own == {trial.stage for trial in cell.trials}
        others = {key for role, key in stage.needs.items() if role.startswith(OTHER_SEEDS)}
        assert others == trials - own
        assert others.isdisjoint(plan.dependencies(cell.stage, own_seed=True))
    assert len({cell.stage for cell in plan.cells}) == 2


def test_a_trial_is_no_cell_of_another_arm_and_is_not_tested_beside_one(planned):
    plan = planned({"recipe.lr": [0.01, 0.05]}, arms={"plain": {**KD, "recipe": {"lr": 0.01}}})
    plain = next(plan.stages[cell.stage] for cell in plan.cells if cell.arm == "plain")
    trial = plan.stages[plan.cells[0].trials[0].stage]
    assert (trial.spec.recipe, trial.spec.loss, trial.spec.seed) == (
        plain.spec.recipe,
        plain.spec.loss,
        plain.spec.seed,
    )
    assert trial.key != plain.key
    assert trial.cohort != plain.cohort


def test_ranges_are_drawn_by_seed_and_all_differ(planned):
    search = {
        "trials": 12,
        "recipe.lr": {"low": 0.001, "high": 0.1, "log": True},
        "recipe.epochs": {"low": 1, "high": 3},
    }
    first, again, other = (planned({**search, "seed": seed}) for seed in (0, 0, 1))
    values = [(spec.recipe.lr, spec.recipe.epochs) for spec in specs(first)]
    assert len(set(values)) == 12
    assert all(0.001 <= lr <= 0.1 for lr, _ in values)
    assert {epochs for _, epochs in values} == {1, 2, 3}
    assert sum(lr < 0.01 for lr, _ in values) > 2  # half of them, by order of magnitude
    assert [spec.recipe for spec in specs(again)] == [spec.recipe for spec in specs(first)]
    assert [spec.recipe for spec in specs(other)] != [spec.recipe for spec in specs(first)]


def test_trials_of_lists_are_some_of_the_combinations(planned):
    plan = planned({"trials": 5, "recipe.lr": [0.1, 0.2, 0.3], "loss.kd.weight": [1, 2]})
    assert len({(spec.recipe.lr, spec.loss[1].weight) for spec in specs(plan)}) == 5


def test_a_search_stands_in_one_setting(planned):
    plan = planned({"recipe.lr": [0.1, 0.2]}, overrides=("arms.KD.search={recipe.lr: [0.3, 0.4, 0.5]}",))
    assert [spec.recipe.lr for spec in specs(plan)] == [0.3, 0.4, 0.5]


def test_an_arm_goes_on_from_the_one_that_was_chosen(planned):
    plan = planned({"recipe.lr": [0.1, 0.2]}, arms={"on": {"method": "finetune", "start": "KD"}})
    starts = [plan.stages[cell.stage].needs["start"] for cell in plan.cells if cell.arm == "on"]
    assert starts == [cell.stage for cell in plan.cells if cell.arm == "KD"]


def test_a_ladder_is_searched_on_each_rung(planned):
    plan = planned({"recipe.lr": [0.1, 0.2]}, {**KD, "recipe": {"epochs": [1, 3]}}, seeds=[0])
    assert [cell.ladder for cell in plan.cells] == ["KD, big (scratch)"] * 2
    epochs = [plan.stages[trial.stage].spec.recipe.epochs for cell in plan.cells for trial in cell.trials]
    assert epochs == [1, 1, 3, 3]


def test_trials_count_as_cells_in_the_limit_of_the_grid(planned):
    search = {"trials": 900, "recipe.lr": {"low": 0.1, "high": 0.9}}
    with pytest.raises(SuiteError, match="more than 10,000 cells"):
        planned(search, seeds=list(range(12)))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"recipe.lrr": [1, 2]}, "a recipe has no field 'lrr'; did you mean 'lr'"),
        ({"recipe.optimiser": ["sgd", "adamw"]}, "did you mean 'optimizer'"),
        ({"recipes.lr": [1, 2]}, "did you mean 'recipe.lr'"),
        ({"lr": [1, 2]}, "dotted keys: `recipe.FIELD`"),
        ({"trails": 3, "recipe.lr": [1, 2]}, "did you mean 'trials'"),
        ({"loss.kdd.weight": [1, 2]}, "arm 'KD' has no loss 'kdd'; did you mean 'kd'"),
        ({"loss.dkd.alpha": [1, 2]}, "arm 'KD' has no loss 'dkd'"),
        ({"loss.kd.temprature": [1, 2]}, "no parameter 'temprature'; did you mean 'temperature'"),
        ({"loss.kd": [1, 2]}, "name the weight or a parameter of loss 'kd'"),
        ({"recipe.lr": [0.1]}, "two values or more"),
        ({"recipe.lr": [0.1], "loss.kd.weight": [2]}, "two values or more"),
        ({"recipe.lr": []}, "write a list of values"),
        ({"recipe.lr": 0.1}, "write a list of values.*given: 0.1"),
        ({"recipe.lr": [0.1, 0.1]}, "0.1 is listed twice"),
        ({"recipe.lr": [0.1, -1]}, r"search.recipe\\.lr.1: input should be greater than 0"),
        ({"recipe.lr": [0.1, "0.2"]}, "write a number"),
        ({"recipe.epochs": [1, 1.5]}, "integer"),
        ({"loss.kd.weight": [1, 0]}, "greater than 0"),
        ({"loss.kd.temperature": [1, 0]}, "greater than 0"),
        ({"recipe.augment": [["flip"], ["flipp"]]}, "unknown augmenter 'flipp'"),
        ({"trials": 3, "recipe.lr": {"low": 1, "high": 1}}, "`low` is under `high`"),
        ({"trials": 3, "recipe.lr": {"low": 2, "high": 1}}, "`low` is under `high`"),
        ({"trials": 3, "recipe.lr": {"low": 0, "high": 1, "log": True}}, "`low` is above 0"),
        ({"trials": 3, "recipe.lr": {"low": -1, "high": 1}}, "greater than 0"),
        ({"trials": 3, "recipe.lr": {"low": 1}}, "two numbers, `low` and `high`"),
        ({"trials": 3, "recipe.lr": {"low": "a", "high": 1}}, "two numbers, `low` and `high`"),
        ({"trials": 3, "recipe.lr": {"low": 0, "high": 10**400}}, r"a whole number must be below 2\^64"),
        ({"trials": 3, "recipe.lr": {"low": 0.1, "high": 1, "log": "yes"}}, "two numbers"),
        ({"trials": 3, "recipe.lr": {"lo": 0.1, "high": 1}}, "did you mean 'low'"),
        ({"trials": 3, "recipe.optimizer": {"low": 0.1, "high": 1}}, "a range is of numbers"),
        ({"trials": 3, "recipe.epochs": {"low": 1.2, "high": 1.7}}, "no whole number from 1.2 to 1.7"),
        ({"trials": 4, "recipe.epochs": {"low": 1, "high": 3}}, "4 trials are more than the 3 combinations"),
        ({"trials": 3, "recipe.lr": {"low": 0.1, "high": 0.1000001}}, "too few different values"),
        ({"recipe.lr": {"low": 0.1, "high": 1}}, "`trials` does not say how many"),
        ({"trials": 5, "recipe.lr": [0.1, 0.2]}, "5 trials are more than the 2 combinations"),
        ({"trials": 1, "recipe.lr": [0.1, 0.2]}, "greater than or equal to 2"),
        ({"trials": "two", "recipe.lr": [0.1, 0.2]}, "write a number"),
        ({"seed": 1, "recipe.lr": [0.1, 0.2]}, "`seed` draws `trials`"),
        ({"trials": 3}, "name a field to search"),
        ({}, "name a field to search"),
        ([0.1], "write a mapping"),
        ({"recipe.batch_size": list(range(1, 1200))}, "1,199 trials are more than 1,000"),
    ],
)
def test_a_search_that_cannot_be_is_refused_with_its_place(planned, search, message):
    with pytest.raises(SuiteError, match=message) as refusal:
        planned(search)
    assert "suite.yaml:" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arm", "search", "changes", "message"),
    [
        (KD, {"recipe.lr": [1, 2]}, {"selection": {"rule": "last"}}, "holds no images out to choose by"),
        ({"method": "published"}, {"recipe.lr": [1, 2]}, {}, "published has nothing to search"),
        ({**KD, "recipe": {"epochs": [1, 2]}}, {"recipe.epochs": [3, 4]}, {}, "are a ladder"),
    ],
)
def test_an_arm_that_cannot_be_searched_is_refused(planned, arm, search, changes, message):
    with pytest.raises(SuiteError, match=message) as refusal:
        planned(search, arm, **changes)
    assert "suite.yaml:" in str(refusal.value)
