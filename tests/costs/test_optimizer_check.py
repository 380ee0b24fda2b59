"""Optimisers that a plan refuses: one line at the place in the suite."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchbench.costs.network_check import check_networks
from benchbench.costs.optimizer_check import optimizer_refusal
from benchbench.costs.requests import OptimizerRequest
from benchbench.errors import SuiteError
from benchbench.plugins import load_plugins
from tests.networks import in_this_process

REGISTRY = load_plugins().registry


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("adamw", None),
        ("timm/lion", None),
        ("timm/adafactor", None),
        ("timm/lamb", None),
        ("timm/muon", None),
        ("torch/asgd", None),
        ("torch/lbfgs", "needs a closure"),
        ("torch/muon", "only supports 2D parameters"),
        ("torch/sparseadam", "takes no plain gradients"),
        ("timm/adahessian", "takes no plain gradients"),
        ("timm/bnblion", "optimizer timm/bnblion: "),
        ("timm/nothing", "timm has no optimizer 'nothing'"),
    ],
)
def test_what_can_train(name, words):
    reason = optimizer_refusal(OptimizerRequest(name=name, code=""), REGISTRY)
    assert (reason is None) if words is None else words in reason
    assert reason is None or reason.isprintable()


@pytest.mark.parametrize(
    ("override", "place", "words"),
    [
        ("recipes.default.optimizer=lyon", "recipes.default.optimizer", "did you mean 'lion'?"),
        ("recipes.default.optimizer_params={betas: [1, 2, 3]}", "recipes.default.optimizer_params", "optimizer adamw"),
        ("arms.scratch.recipe.layer_decay=0.5", "arms.scratch.recipe.layer_decay", "knows its layers"),
        (
            "recipes.default.optimizer_params={lr: 1}",
            "recipes.default.optimizer_params",
            "'lr' is a field of the recipe",
        ),
        ("recipes.default.optimizer_params={fused: true}", "recipes.default", "'fused' is chosen by the training loop"),
        ("recipes.default.optimizer=a b", "recipes.default.optimizer", "write adamw, sgd, timm/NAME or torch/NAME"),
    ],
)
def test_one_line_at_its_place(plan_of, tiny_suite, tmp_path, monkeypatch, override, place, words):
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    students = {"small": {"model": "cifar/resnet8"}}
    with pytest.raises(SuiteError) as caught:
        check_networks(plan_of(tiny_suite(tmp_path, students=students), override))
    text = str(caught.value)
    assert words in text
    assert place in text
    assert len(text.splitlines()) == 1


def test_names_of_timm_need_no_library(plan_of, tiny_suite, tmp_path):
    plans = [plan_of(tiny_suite(tmp_path), f"recipes.default.optimizer={name}") for name in ("lion", "timm/lion")]
    assert plans[0].stages.keys() == plans[1].stages.keys()
    assert {loc[-1] for plan in plans for loc in plan.optimizer_locs.values()} == {"optimizer"}
