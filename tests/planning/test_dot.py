"""DOT in plans: of distillation alone, in its key, refused where it cannot work, and noted where it does nothing."""

from __future__ import annotations

import pytest

from benchbench.errors import SuiteError
from benchbench.planning.notes import plan_notes

TEACHER = {"big": {"model": "timm/test_resnet", "adapt": ["scratch"]}}
ARMS = {"alone": {"method": "scratch"}, "KD": {"method": "distill", "loss": {"ce": 1, "kd": 1}}}


@pytest.fixture
def specs(tiny_suite, plan_of, tmp_path):
    def plan(loss=None, **recipe):
        arms = ARMS if loss is None else {"KD": {"method": "distill", "loss": loss}}
        default = {"epochs": 1, "batch_size": 20, "image_size": 32, "optimizer": "sgd", "lr": 0.1}
        changes = {"seeds": [0], "teachers": TEACHER, "arms": arms, "recipes": {"default": default | recipe}}
        made = plan_of(tiny_suite(tmp_path, **changes))
        return {stage.label.partition(",")[0]: stage for stage in made.stages.values() if hasattr(stage.spec, "loss")}

    return plan


def test_distillation_alone_has_it(specs):
    plain, dot = specs(), specs(dot=0.075)
    assert {label: stage.spec.recipe.dot for label, stage in dot.items()} == {
        label: 0.075 if label == "KD" else None for label in plain
    }
    assert {label for label in plain if plain[label].key != dot[label].key} == {"KD"}
    assert "dot" not in plain["KD"].spec.as_json()["recipe"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": "adamw"}, "the optimizer is adamw; write `optimizer: sgd`, or take dot out"),
        ({"momentum": 0.95}, "0.875 and 1.025 are not in 0..1; take a smaller `dot`, or take dot out"),
        ({"momentum": 0}, "-0.075 and 0.075 are not in 0..1; take a smaller `dot`"),
        ({"loss": {"kd": 1}}, "no loss is without a teacher; add `ce`, or take dot out"),
        ({"optimizer_params": {"nesterov": True}}, "optimizer_params are of one"),
        ({"clip_grad": 1}, "clip_grad limits one gradient; take that out, or take dot out"),
        ({"accumulate": 2}, "accumulate adds up one gradient"),
        ({"precision": "fp16"}, "fp16 scales one gradient"),
    ],
)
def test_refused(specs, recipe, message):
    with pytest.raises(SuiteError) as caught:
        specs(dot=0.075, **recipe)
    assert f"dot keeps two momenta of SGD, and {message}" in str(caught.value)


@pytest.fixture
def search(tiny_suite, plan_of, tmp_path):
    """Plans an arm with DOT that searches something; the suite's file."""

    def plan(search, **recipe):
        arm = {"method": "distill", "loss": {"ce": 1, "kd": 1}, "search": search, "recipe": {"dot": 0.05, **recipe}}
        changes = {"seeds": [0], "teachers": TEACHER, "arms": {"KD": arm}, "selection": {"validation": 0.1}}
        path = tiny_suite(tmp_path, **changes)
        return path, lambda: plan_of(path)

    return plan


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        ({"recipe.dot": [0.05, 0.5]}, "0.4 and 1.4 are not in 0..1"),
        ({"recipe.optimizer": ["sgd", "adamw"]}, "the optimizer is adamw"),
    ],
)
def test_a_searched_value_is_refused_at_the_search(search, searched, message):
    path, plan = search(searched, optimizer="sgd")
    with pytest.raises(SuiteError) as caught:
        plan()
    assert message in str(caught.value)
    assert next(iter(searched)) in path.read_text().splitlines()[caught.value.line - 1]


@pytest.fixture
def pretrained(tiny_suite, plan_of, tmp_path):
    """Plans an arm that starts from a student distilled on a corpus; the plan and the pre-training's spec."""

    def plan(loss=None, shared=None, **recipe):
        entry = {"data": {"source": "cifar10_subset"}, "method": "distill", "teacher": "big", "recipe": recipe}
        changes = {
            "seeds": [0],
            "teachers": {"big": {"model": "timm/test_resnet", "weights": "pretrained", "adapt": ["pretrained"]}},
            "pretraining": {"own": entry | ({"loss": loss} if loss else {})},
            "arms": {"tune": {"method": "finetune", "start": "own"}},
            "recipes": {
                "default": {"epochs": 1, "batch_size": 20, "image_size": 32, "optimizer": "sgd"},
                "distill": shared or {},
            },
        }
        made = plan_of(tiny_suite(tmp_path, **changes))
        (spec,) = [stage.spec for stage in made.stages.values() if stage.kind == "pretraining"]
        return made, spec

    return plan


def test_a_pre_training_with_both_sides_has_it(pretrained):
    plan, spec = pretrained({"ce": 1, "align_uniform": 1}, {"dot": 0.05})
    assert spec.recipe.dot == 0.05
    assert plan_notes(plan) == []


def test_that_of_the_arms_leaves_a_pre_training_on_a_teacher_alone_as_it_is(pretrained):
    plan, spec = pretrained(None, {"dot": 0.05, "clip_grad": 1})
    assert spec.recipe.dot is None
    assert plan_notes(plan) == [
        "dot does nothing without a loss with a teacher and one without: pre-training of small | own"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dot": 0.05}, "no loss is without a teacher (pre-training 'own'); add `ce`, or give the pre-training"),
        ({"loss": {"ce": 1, "sp": 1}, "shared": {"dot": 0.05}, "clip_grad": 1}, "clip_grad limits one gradient"),
        ({"loss": {"ce": 1, "sp": 1}, "shared": {"dot": 0.05, "optimizer": "adamw"}}, "the optimizer is adamw"),
    ],
)
def test_refused_in_a_pre_training(pretrained, changes, message):
    with pytest.raises(SuiteError, match=r"\.yaml:\d+: ") as caught:
        pretrained(**changes)
    assert f"dot keeps two momenta of SGD, and {message}" in str(caught.value)
    assert caught.value.hint.endswith("or give the pre-training `recipe: {dot: null}`")


def test_a_pre_training_can_do_without(pretrained):
    plan, spec = pretrained({"ce": 1, "sp": 1}, {"dot": 0.05}, dot=None, clip_grad=1)
    assert (spec.recipe.dot, plan_notes(plan)) == (None, [])


@pytest.mark.parametrize(
    ("overrides", "noted"),
    [
        (["arms.scratch.recipe.dot=0.05"], True),
        (["recipes.scratch.dot=0.05"], True),
        (["recipes.default.dot=0.05", "recipes.default.optimizer=sgd"], False),
        (["students.small.recipe={dot: 0.05, optimizer: sgd}"], False),
    ],
)
def test_a_note_where_a_training_has_no_use_for_its_own(tiny_suite, plan_of, tmp_path, overrides, noted):
    notes = plan_notes(plan_of(tiny_suite(tmp_path), *overrides))
    start = "dot does nothing without a loss with a teacher and one without: scratch | cifar | small"
    assert [note[: len(start)] for note in notes] == [start] * noted
