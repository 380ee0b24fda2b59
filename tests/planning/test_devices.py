"""Trainings on several devices: in no key, alone, and refused where there are not so many."""

from __future__ import annotations

import pytest

from benchbench.costs.network_check import check_networks
from benchbench.errors import SuiteError
from benchbench.hardware.devices import Devices
from benchbench.planning.limits import check_devices
from benchbench.planning.model import Plan

TWO = Devices("cpu", "a processor", ("0", "1"), 1)
RECIPE = {"epochs": 1, "batch_size": 20, "image_size": 32}
SCRATCH = {"method": "scratch"}


def devices_of(plan: Plan) -> dict[str, int]:
    return {stage.label: stage.devices for stage in plan.stages.values() if stage.devices > 1}


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path):
    def plan(*overrides: str, devices: Devices = TWO, **changes) -> Plan:
        return plan_of(tiny_suite(tmp_path, **{"recipes": {"default": RECIPE}, **changes}), *overrides, devices=devices)

    return plan


def test_devices_are_in_no_key_and_trainings_on_several_have_no_neighbours(planned):
    one, two = planned(), planned("recipes.default.devices=2")
    trained = {"cell", "teacher"}
    keys = [[key for key, stage in plan.stages.items() if stage.kind in trained] for plan in (one, two)]
    assert keys[0] == keys[1]
    assert devices_of(one) == {}
    assert devices_of(two).keys() == {two.stages[key].label for key in keys[1]}
    assert {stage.devices for stage in two.stages.values() if stage.kind not in trained} == {1}
    assert any(one.stages[key].cohort for key in keys[0])
    assert [key for key in keys[1] if two.stages[key].cohort] == []


def test_a_network_is_tuned_for_its_share_of_a_batch(planned):
    plan = planned("recipes.default.devices=3")
    sizes = {stage.spec.batch_size for stage in plan.stages.values() if stage.kind == "tuning" and stage.spec.trained}
    assert sizes == {7}


def test_the_nearest_part_counts_and_of_two_labels_of_one_training_the_larger_number(planned):
    arms = {"scratch": SCRATCH, "again": {**SCRATCH, "recipe": {"devices": 2}}}
    plan = planned(arms=arms, teachers=None)
    assert [stage.devices for stage in plan.stages.values() if stage.kind == "cell"] == [2, 2]
    plan = planned("teachers.big.adapt.scratch.devices=2")
    assert devices_of(plan) == {"teacher big (scratch) | cifar": 2}


def test_heads_alone_take_one(planned, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"some weights")
    student = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
    arms = {"probe": {"method": "linear_probe"}, "tuned": {"method": "finetune"}}
    plan = planned("recipes.default.devices=2", arms=arms, students={"small": student}, teachers=None)
    assert {label.partition(" |")[0] for label in devices_of(plan)} == {"tuned"}


def test_more_than_there_are_is_one_line_with_its_place(planned, tmp_path):
    plan = planned("recipes.default.devices=2", devices=Devices("cpu", "a processor", ("0",), 2))
    fitting = planned("recipes.default.devices=2")
    check_devices(fitting, fitting.stages)
    with pytest.raises(SuiteError) as caught:
        check_devices(plan, plan.stages)
    text = str(caught.value)
    assert "2 devices for 'scratch | cifar | small | seed 0' are more than there are here: 1 (`--jobs`)" in text
    assert "raise --jobs to 2, or take fewer" in text
    with pytest.raises(SuiteError, match="2 devices for"):
        check_networks(plan)  # before any network is built
    own = planned(arms={"scratch": {**SCRATCH, "recipe": {"devices": 4}}}, teachers=None)
    with pytest.raises(SuiteError, match=rf"{tmp_path}/suite.yaml:\d+: 4 devices for 'scratch"):
        check_devices(own, own.stages)


def test_gpus_of_one_kind_work_together():
    mixed = Devices("cuda", "A + B", ("0", "1", "2", "0.1", "1.1", "2.1"), 1, 2, ("A", "B", "B", "A", "B", "B"))
    assert mixed.most_together == 2
    assert mixed.together(mixed.slots, 2) == ["1", "2"]
    assert mixed.together(("0", "0.1", "1.1", "1"), 2) == []
    assert mixed.together(("1.1", "0", "2"), 2) == ["1.1", "2"]
    assert mixed.together(("2.1", "0"), 1) == ["2.1"]
    assert mixed.together((), 1) == []


def test_batches_smaller_than_the_devices_are_refused(planned):
    with pytest.raises(SuiteError, match=r"recipes.default.devices.*4 devices share batches of 3.*`devices: 3`"):
        planned("recipes.default.batch_size=3", "recipes.default.devices=4")


def test_devices_are_no_value_to_search(planned):
    arms = {"scratch": {**SCRATCH, "search": {"recipe.devices": [1, 2]}}}
    with pytest.raises(SuiteError, match="`devices` change no result"):
        planned(arms=arms, selection={"validation": 0.2})


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["recipes.default.accumulate=21"], "a batch of 20 images has no 21 parts; take `accumulate: 20` or less"),
        (
            ["recipes.default.accumulate=2", "recipes.default.devices=3"],
            "3 devices cannot share 2 equal parts of a batch of 20 images; take a batch_size that 6 divides",
        ),
    ],
)
def test_parts_of_batches_that_cannot_be(planned, overrides, words):
    with pytest.raises(SuiteError) as caught:
        planned(*overrides)
    assert words in str(caught.value)
    assert "recipes.default.accumulate" in str(caught.value)
