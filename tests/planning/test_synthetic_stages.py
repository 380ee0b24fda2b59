"""Generated images in a plan: their stages, the cells that share them, and refusals before anything runs."""

from __future__ import annotations

import re

import pytest

from benchbench.cli.describe import plan_json
from benchbench.errors import SuiteError
from benchbench.planning.model import train_images
from benchbench.store import Store

MIXED = {"mixed": {"source": "same_class_mixup", "times": 2}}
OWN = {"own": {"source": {"trained_diffusion": {"image_size": 16, "train_steps": 5}}, "per_class": 3, "size": 32}}
KD = {"method": "distill", "loss": {"ce": 1, "kd": 1}}


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path):
    """The plan of the tiny suite with these arms and sets."""

    def make(arms, *overrides, synthetic=None, **changes):
        sets = MIXED | OWN if synthetic is None else synthetic
        return plan_of(tiny_suite(tmp_path, arms=arms, synthetic=sets, **changes), *overrides)

    return make


def stages(plan, kind):
    return [stage for stage in plan.stages.values() if stage.kind == kind]


class TestStages:
    def test_a_set_is_made_once_for_all_that_use_it(self, planned):
        plan = planned({"scratch": {"method": "scratch", "synthetic": "mixed"}, "kd": {**KD, "synthetic": "mixed"}})
        (generation,) = stages(plan, "synthesis")
        cells = stages(plan, "cell")
        assert {cell.needs["synthetic"] for cell in cells} == {generation.key}
        assert all(generation.key in plan.dependencies(cell.key) for cell in cells)
        assert (generation.spec.times, generation.spec.per_class) == (2, None)

    def test_sets_that_no_arm_uses_are_not_made(self, planned):
        assert stages(planned({"scratch": {"method": "scratch"}}), "synthesis") == []

    def test_a_model_is_trained_once_however_it_is_sampled(self, planned):
        slow = {"source": {"trained_diffusion": {"image_size": 16, "train_steps": 5, "steps": 50}}, "per_class": 3}
        arms = {name: {"method": "scratch", "synthetic": name} for name in ("own", "slow")}
        plan = planned(arms, synthetic=OWN | {"slow": slow})
        (model,) = stages(plan, "diffusion")
        assert [stage.needs for stage in stages(plan, "synthesis")] == [{"diffusion": model.key}] * 2
        assert "steps" not in model.spec.generator.params
        assert model.key in plan.dependencies(stages(plan, "cell")[0].key)

    def test_arms_without_images_keep_their_keys(self, planned):
        plain = planned({"scratch": {"method": "scratch"}, "kd": KD}, synthetic={})
        both = planned(
            {"scratch": {"method": "scratch"}, "kd": KD, "more": {"method": "scratch", "synthetic": "mixed"}}
        )
        assert {cell.stage for cell in plain.cells} < {cell.stage for cell in both.cells}

    def test_the_use_of_images_is_part_of_the_key_and_of_the_cohort(self, planned):
        uses = {
            "all": "mixed",
            "half": {"set": "mixed", "times": 1},
            "shared": {"set": "mixed", "share": 0.25},
            "curriculum": {"set": "mixed", "share": {"first": 0, "last": 0.5}},
        }
        plan = planned({name: {"method": "scratch", "synthetic": use} for name, use in uses.items()}, "seeds=[0]")
        cells = stages(plan, "cell")
        assert len({cell.key for cell in cells}) == len({cell.cohort for cell in cells}) == 4

    def test_labels_of_sets_are_part_of_no_key(self, planned):
        plans = [
            planned({"scratch": {"method": "scratch", "synthetic": label}}, synthetic={label: MIXED["mixed"]})
            for label in ("mixed", "renamed")
        ]
        assert plans[0].stages.keys() == plans[1].stages.keys()

    def test_losses_that_see_real_images_alone_share_batches_with_those_that_see_all(self, planned):
        arms = {"all": {**KD, "synthetic": "mixed"}, "kd": {**KD, "synthetic": {"set": "mixed", "losses": ["kd"]}}}
        plan = planned(arms, "seeds=[0]")
        first, second = stages(plan, "cell")
        assert first.cohort == second.cohort
        assert [loss.images for loss in second.spec.loss] == ["real", "all"]

    def test_a_judge_s_outputs_are_computed_once(self, planned):
        judge = {"labels": "teacher", "teacher": "big", "state": "scratch"}
        use = {"set": "mixed", "min_confidence": 0.5, **judge}
        plan = planned(
            {"kd": {**KD, "synthetic": use}, "scratch": {"method": "scratch", "synthetic": use}}, "seeds=[0]"
        )
        (judge,) = (stage for stage in stages(plan, "outputs") if stage.spec.splits == ("synthetic",))
        assert {cell.needs["judge"] for cell in stages(plan, "cell")} == {judge.key}
        assert judge.needs.keys() == {"synthetic", "teacher0"}

    def test_cached_outputs_are_of_real_and_generated_images(self, planned):
        plan = planned({"kd": {**KD, "synthetic": "mixed", "recipe": {"views": 1}}}, "seeds=[0]")
        (outputs,) = stages(plan, "outputs")
        assert outputs.spec.data.synthetic.set == "mixed"
        assert "synthetic" in outputs.needs

    def test_quality_is_judged_for_sets_that_are_used(self, planned):
        plan = planned(
            {"scratch": {"method": "scratch", "synthetic": "mixed"}}, quality={"teacher": "big", "state": "scratch"}
        )
        (quality,) = stages(plan, "quality")
        assert quality.needs.keys() == {"synthetic", "teacher0"}
        assert quality.key not in {key for cell in plan.cells for key in plan.dependencies(cell.stage)}


def test_prompts_are_the_paper_s_for_its_data_sets(planned):
    source = {"text_to_image": {"model": "some/model"}}
    plan = planned(
        {"s": {"method": "scratch", "synthetic": "sd"}},
        synthetic={"sd": {"source": source}},
        data={"d": {"source": "dtd"}},
    )
    (generation,) = stages(plan, "synthesis")
    assert generation.spec.generator.params["prompts"] == ["{class} texture"]


@pytest.mark.parametrize(
    ("use", "images"),
    [("mixed", 40 + 80), ({"set": "mixed", "times": 1}, 80), ("own", 40 + 30), ({"set": "own", "share": 0.5}, 40)],
)
def test_generated_images_count(use, images, planned):
    plan = planned({"scratch": {"method": "scratch", "synthetic": use}}, "seeds=[0]")
    (cell,) = stages(plan, "cell")
    assert train_images(plan.info["cifar"], cell.spec.data) == images


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"synthetic": "mixde"}, "unknown set 'mixde'; did you mean 'mixed'"),
        ({"synthetic": {"set": "mixed", "times": 3}}, "times: 3 is more than set 'mixed' has"),
        ({"synthetic": {"set": "mixed", "losses": ["kd"]}}, "arm 'a' has no loss 'kd'"),
        ({"synthetic": {"set": "mixed", "labels": "teacher"}}, "need a judge"),
        ({"synthetic": {"set": "mixed", "teacher": "big", "state": "scratch"}}, "nothing reads it"),
        (
            {"synthetic": {"set": "mixed", "min_confidence": 0.5, "teacher": "bog", "state": "scratch"}},
            "unknown teacher 'bog'; did you mean 'big'",
        ),
        (
            {"synthetic": {"set": "mixed", "min_confidence": 0.5, "teacher": "big", "state": "finetune"}},
            "teacher 'big' has no state 'finetune'",
        ),
        (
            {"synthetic": {"set": "mixed", "min_confidence": 0.5, "teacher": "big", "state": "pretrained"}},
            "does not know the task's classes",
        ),
        ({"method": "linear_probe", "synthetic": "mixed"}, "takes no generated images"),
        ({"synthetic": {"set": "mixed", "share": 1.0}}, "less than 1"),
        ({"recipe": {"augment": ["same_class_mixup"]}}, "generates images in a stage of its own"),
        (
            {"synthetic": {"set": "mixed", "losses": ["ce"]}, "recipe": {"augment": ["mixup"]}},
            "do not go with an augmenter that mixes",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(arm, message, planned):
    students = {"small": {"model": "timm/test_efficientnet", "weights": "pretrained"}}
    with pytest.raises(SuiteError) as caught:
        planned({"a": {"method": "scratch", **arm}}, students=students)
    text = str(caught.value)
    assert message in text
    assert re.search(r"suite\.yaml:\d+: ", text)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"m": {"source": "flip"}}, "'flip' generates no images"),
        ({"m": {"source": "same_class_mixup", "times": 1, "per_class": 3}}, "give times or per_class"),
        ({"m": {"source": {"text_to_image": {"model": "a/b", "prompts": ["a cat"]}}}}, "prompt 'a cat' has no {class}"),
        ({"m": {"source": {"same_class_mixup": {"alhpa": 1}}}}, "did you mean 'alpha'"),
    ],
)
def test_sets_that_cannot_be_made(sets, message, planned):
    with pytest.raises(SuiteError) as caught:
        planned({"a": {"method": "scratch"}}, synthetic=sets)
    assert message in str(caught.value)


def test_a_judge_of_quality_must_be_there(planned):
    with pytest.raises(SuiteError, match="unknown teacher 'bog'"):
        planned({"a": {"method": "scratch"}}, quality={"teacher": "bog"})


def test_a_plan_says_that_the_cost_of_generating_is_not_known_yet(planned, tmp_path):
    def notes(arms) -> str:
        return "\n".join(plan_json(planned(arms), Store(tmp_path / "runs"), {})["notes"])

    assert "hours (?) of generating images" in notes({"scratch": {"method": "scratch", "synthetic": "mixed"}})
    assert "hours (?) of generating images" not in notes({"scratch": {"method": "scratch"}})
