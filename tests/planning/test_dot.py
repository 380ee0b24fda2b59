"""DOT in plans: of distillation alone, in its key, and refused where it cannot work."""

from __future__ import annotations

import pytest

from benchbench.errors import SuiteError

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
        ({"momentum": 0.95}, "0.875 and 1.025 are not in 0..1; take a smaller `dot`"),
        ({"momentum": 0}, "-0.075 and 0.075 are not in 0..1; take a smaller `dot`"),
        ({"loss": {"kd": 1}}, "no loss of the arm is without a teacher; add `ce`, or take dot out"),
        ({"optimizer_params": {"nesterov": True}}, "optimizer_params are of one"),
        ({"clip_grad": 1}, "clip_grad limits one gradient"),
        ({"accumulate": 2}, "accumulate adds up one gradient"),
        ({"precision": "fp16"}, "fp16 scales one gradient"),
    ],
)
def test_refused(specs, recipe, message):
    with pytest.raises(SuiteError) as caught:
        specs(dot=0.075, **recipe)
    assert f"dot keeps two momenta of SGD, and {message}" in str(caught.value)
