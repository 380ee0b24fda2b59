"""Recipes that mix images: where the augmenters stand, which losses go with them, and the recipes of the stages."""

from __future__ import annotations

from typing import Any

import pytest

from benchbench.errors import SuiteError
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec

HARD = [o.component.name for o in load_plugins().registry.of_kind("loss") if "hard_labels" in o.component.needs]
FLIP, MIXUP, CUTMIX = {"flip": {}}, {"mixup": {"alpha": 0.2}}, {"cutmix": {}}
PLUGIN = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    yield Component("mine", __name__ + ":loss", needs=frozenset({"hard_labels"}))

@hookimpl
def benchbench_augmenters():
    yield Component("blurred_pairs", __name__ + ":mix", needs=frozenset({"labels"}))
"""

ADDING_PLUGIN = """
from benchbench import Component, Params, hookimpl

class MineParams(Params):
    hard: bool = False

@hookimpl
def benchbench_losses():
    yield Component("mine", __name__ + ":loss", MineParams, optional={"hard": frozenset({"hard_labels"})})
"""


def recipes(*augment: dict[str, Any]) -> dict[str, Any]:
    return {"default": {"image_size": 32, "augment": list(augment)}}


def line_of(path, text: str) -> int:
    return next(row for row, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_augmenters_of_images_and_of_batches_are_apart_in_a_recipe(tiny_suite, plan_of, tmp_path):
    plan = plan_of(tiny_suite(tmp_path, recipes=recipes(FLIP, MIXUP, CUTMIX)))
    recipes_of_stages = [stage.spec.recipe for stage in plan.stages.values() if stage.kind in ("cell", "teacher")]
    assert recipes_of_stages
    for recipe in recipes_of_stages:
        assert recipe.augment == (ComponentSpec(name="flip", params={"probability": 0.5}),)
        assert recipe.mix == (
            ComponentSpec(name="mixup", params={"alpha": 0.2, "probability": 1.0}),
            ComponentSpec(name="cutmix", params={"alpha": 1.0, "probability": 1.0}),
        )
    assert plan.key != plan_of(tiny_suite(tmp_path, recipes=recipes(FLIP, MIXUP))).key
    unmixed = plan_of(tiny_suite(tmp_path, recipes=recipes(FLIP)))
    assert all(stage.spec.recipe.mix == () for stage in unmixed.stages.values() if stage.kind != "tuning")


@pytest.mark.parametrize("augment", [[MIXUP, FLIP], [FLIP, MIXUP, {"random_crop": {}}], [MIXUP, CUTMIX, FLIP]])
def test_mixing_comes_last(tiny_suite, plan_of, tmp_path, augment):
    path = tiny_suite(tmp_path, recipes=recipes(*augment))
    with pytest.raises(SuiteError) as caught:
        plan_of(path)
    follower = next(iter(augment[-1]))
    named = "'mixup' and 'cutmix'" if CUTMIX in augment else "'mixup'"
    assert caught.value.line == line_of(path, follower)
    assert str(caught.value) == (
        f"{path}:{caught.value.line}: augmenter '{follower}' comes after 'mixup', which mixes the images of finished "
        f"batches; put {named} last"
    )


class TestLosses:
    def test_those_that_need_one_label_an_image_are_refused(self, tiny_suite, plan_of, tmp_path):
        assert sorted(HARD) == ["crd", "dkd", "nkd", "ofa", "rld", "sdd", "tf_kd", "wkd_logits", "wsld"]
        for name in HARD:
            arm = {"method": "scratch" if name == "tf_kd" else "distill", "loss": {"ce": 1, name: 1}}
            path = tiny_suite(tmp_path, recipes=recipes(FLIP, CUTMIX), arms={"refused": arm})
            with pytest.raises(SuiteError) as caught:
                plan_of(path)
            assert caught.value.line == line_of(path, f"{name}: 1")
            assert str(caught.value) == (
                f"{path}:{caught.value.line}: loss '{name}' needs one label an image, and 'cutmix' of "
                "recipes.default.augment gives it two; give arm 'refused' a `recipe: {augment: ...}` of its own "
                "without 'cutmix', or take the loss out"
            )

    def test_a_parameter_may_have_a_loss_need_it(self, tiny_suite, plan_of, tmp_path):
        (file := tmp_path / "mine.py").write_text(ADDING_PLUGIN)
        for hard in (True, False):
            arms = {"plain": {"method": "scratch", "loss": {"mine": {"hard": hard}}}}
            path = tiny_suite(tmp_path, recipes=recipes(MIXUP), arms=arms)
            if not hard:
                plan_of(path, plugins=[file])
                continue
            with pytest.raises(SuiteError, match="loss 'mine' needs one label an image, and 'mixup' of recipes"):
                plan_of(path, plugins=[file])

    def test_an_arm_may_leave_mixing_out(self, tiny_suite, plan_of, tmp_path):
        arms = {"refused": {"method": "distill", "loss": {"ce": 1, "dkd": 1}, "recipe": {"augment": [FLIP]}}}
        plan = plan_of(tiny_suite(tmp_path, recipes=recipes(FLIP, MIXUP), arms=arms))
        assert all(plan.stages[cell.stage].spec.recipe.mix == () for cell in plan.cells)

    def test_the_others_go_with_it(self, tiny_suite, plan_of, tmp_path):
        """Those on outputs alone, in one arm; `ce` knows what is mixed."""
        loss = dict.fromkeys(("ce", "kd", "align_uniform", "mlkd", "seed", "sp", "ctkd"), 1)
        arms = {"distil": {"method": "distill", "loss": loss}}
        plan = plan_of(tiny_suite(tmp_path, recipes=recipes(MIXUP), arms=arms))
        assert [entry.name for entry in plan.stages[plan.cells[0].stage].spec.loss] == list(loss)

    def test_a_plugin_s_are_known_by_what_they_need(self, tiny_suite, plan_of, tmp_path):
        file = tmp_path / "mine.py"
        file.write_text(PLUGIN)
        arms = {"plain": {"method": "scratch", "loss": {"mine": 1}}}
        path = tiny_suite(tmp_path, recipes=recipes(FLIP, {"blurred_pairs": {}}), arms=arms)
        with pytest.raises(SuiteError, match="loss 'mine' needs one label an image, and 'blurred_pairs' of recipes"):
            plan_of(path, plugins=[file])
        path = tiny_suite(tmp_path, recipes=recipes({"blurred_pairs": {}}, FLIP), arms=arms)
        with pytest.raises(SuiteError, match="'flip' comes after 'blurred_pairs'"):
            plan_of(path, plugins=[file])
