"""Settings that are hardly meant."""

from __future__ import annotations

import pytest

from benchbench.planning.notes import plan_notes
from benchbench.suite.shipped import shipped_suites


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["recipes.default.warmup_epochs=5"], "warmup_epochs (5) last to the end of 1 epochs: scratch | cifar | small"),
        (["recipes.default.milestones=[1]"], "milestones are read by `schedule: step` alone, and it is constant"),
        (
            ["recipes.default.schedule=step", "recipes.default.milestones=[3, 9]"],
            "milestones [3, 9] reach beyond 1 epochs",
        ),
        (["recipes.default.batch_size=41"], "batch_size 41 is more than the 40 training images, which make one batch"),
        (["recipes.default.lr=2"], "lr 2 is far from any known recipe with adamw"),
        (["recipes.default.lr=1e-300"], "lr 1e-300 is far from any known recipe with adamw"),
        (["recipes.distill.head_lr=50"], "head_lr 50 is far from any known recipe with adamw: distil, big (scratch)"),
        (["recipes.default.weight_decay=1e9"], "weight_decay 1e+09 is far from any known recipe"),
        (
            ["arms.distil.recipe.class_weights=balanced", "arms.distil.loss={kd: 1}"],
            "class_weights are read by the loss",
        ),
        (
            ["arms.scratch.recipe.early_stop={patience: 1}", "selection={rule: last, validation: 0.5}"],
            "early_stop may end it sooner, so its images and hours are at most these: scratch | cifar | small",
        ),
        (["recipes.default.ema_warmup=true"], "ema_warmup does nothing without ema: scratch | cifar | small"),
        (
            ["recipes.default.ema=0.99"],
            "ema 0.99 averages over 100 steps, and there are 2; take a smaller one, or `ema_warmup: true`: scratch",
        ),
        (["recipes.default.ema=0.9999999"], "ema 0.9999999 averages over 10,000,000 steps, and there are 2; take"),
        (
            ["arms.distil.loss={dkd: {preset: cifar100}}"],
            "loss 'dkd': warmup_epochs 20 is beyond 1 epochs, so it never has its whole weight: distil",
        ),
        (
            ["arms.distil.loss={wkd_logits: {preset: cifar100}}"],
            "loss 'wkd_logits': decay_epoch 150 is beyond 1 epochs, so it never decays: distil",
        ),
        (["recipes.default.clip_mode=agc"], "clip_mode agc does nothing without clip_grad: scratch | cifar | small"),
        (
            ["recipes.default.accumulate=2", "arms.distil.loss={ce: 1, rkd: 1, sp: 1}"],
            "accumulate: losses that compare images with each other (rkd and sp) see 10 at a time: distil",
        ),
        (["recipes.default.augment=[flip, flip]"], "augmenter 'flip' is listed twice"),
        (
            ["arms.again={method: scratch}"],
            "one training under two labels, counted as two results: 'scratch' and 'again'",
        ),
        (["students.same={model: timm/test_efficientnet}"], "counted as two results: 'small' and 'same'"),
    ],
)
def test_one_line(plan_of, tiny_suite, tmp_path, overrides, note):
    path = tiny_suite(tmp_path)
    assert plan_notes(plan_of(path)) == []
    (found,) = plan_notes(plan_of(path, *overrides))
    assert note in found
    assert found.isprintable()


def test_a_recipe_that_changes_the_schedule_for_a_method_is_no_mistake(plan_of, tiny_suite, tmp_path):
    recipes = ["recipes.default.epochs=5", "recipes.default.schedule=step", "recipes.default.milestones=[3]"]
    assert plan_notes(plan_of(tiny_suite(tmp_path), *recipes, "recipes.distill.schedule=cosine")) == []


def test_few_trainings_are_named(plan_of, tiny_suite, tmp_path):
    arms = {f"arm {number}": {"method": "scratch", "recipe": {"lr": number}} for number in range(2, 12)}
    notes = plan_notes(plan_of(tiny_suite(tmp_path, arms=arms), "recipes.default.batch_size=50"))
    assert len(notes) == 11
    assert notes[0].endswith("arm 2 | cifar | small, arm 3 | cifar | small, arm 4 | cifar | small (and 7 more)")


@pytest.mark.parametrize("name", ["quickstart", "losses_small", "cifar100_published"])
def test_suites_that_ship_have_none(plan_of, name):
    assert plan_notes(plan_of(shipped_suites()[name])) == []
