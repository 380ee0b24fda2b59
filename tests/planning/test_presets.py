"""Presets of losses in plans: their values reach the keys, what the suite sets wins, and what cannot be is refused."""

from __future__ import annotations

import pytest

from benchbench.errors import SuiteError
from benchbench.specs.stages import TrainingSpec

TEACHER = {"big": {"model": "timm/test_resnet", "adapt": ["scratch"]}}


@pytest.fixture
def losses_of(tiny_suite, plan_of, tmp_path):
    """The losses of the cells' specs, by name, and their keys, of the `loss:` of each arm."""

    def plan(*losses):
        arms = {f"arm {index}": {"method": "distill", "loss": loss} for index, loss in enumerate(losses)}
        suite = tiny_suite(tmp_path, seeds=[0], teachers=TEACHER, arms=arms)
        made = plan_of(suite)
        specs = [made.stages[cell.stage].spec for cell in made.cells]
        assert all(isinstance(spec, TrainingSpec) for spec in specs)
        return [{loss.name: (loss.weight, loss.params) for loss in spec.loss} for spec in specs], [
            cell.stage for cell in made.cells
        ]

    return plan


def test_the_key_sees_the_values_and_no_name(losses_of):
    (first, second), keys = losses_of({"kd": {"preset": "cifar100"}}, {"ce": 0.1, "kd": {"weight": 0.9}})
    assert first == second == {"ce": first["ce"], "kd": (0.9, {"standardize": False, "temperature": 4.0})}
    assert first["ce"][0] == 0.1
    assert keys[0] == keys[1]


def test_what_the_suite_sets_wins(losses_of):
    changes = {"preset": "cifar100", "weight": 2, "beta": 6}
    ((losses,), _) = losses_of({"ce": 0.5, "dkd": changes})
    weight, params = losses["dkd"]
    assert (losses["ce"][0], weight) == (0.5, 2)
    assert (params["beta"], params["warmup_epochs"]) == (6, 20)


def test_losses_that_belong_beside_it_join(losses_of):
    ((semckd, simkd), _) = losses_of([{"semckd": {"preset": "cifar100"}}], {"simkd": {"preset": "cifar100"}})
    assert {name: weight for name, (weight, _) in semckd.items()} == {"ce": 1, "kd": 1, "semckd": 400}
    assert list(simkd) == ["simkd"]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"kd": {"preset": "cifar10"}}, "loss 'kd' has no preset 'cifar10'; did you mean 'cifar100'?"),
        ({"kd": {"preset": "CIFAR100"}}, "loss 'kd' has no preset 'CIFAR100'; did you mean 'cifar100'?"),
        ({"sp": {"preset": "cifar100", "dense": True}}, "loss.sp: `maps` compares whole maps, and `dense` positions"),
        ({"srd": {"preset": "cifar100"}}, "loss 'srd' has no preset 'cifar100'; it has none: write its weight and"),
        ({"kdd": {"preset": "cifar100"}}, "unknown loss 'kdd'; did you mean 'kd'?"),
        (
            {"kd": {"preset": "cifar100"}, "at": {"preset": "cifar100"}},
            "presets of 'kd' and 'at' give 'ce' the weights 0.1 and 1; write `ce: WEIGHT` beside them",
        ),
    ],
)
def test_refused(losses_of, loss, message):
    with pytest.raises(SuiteError) as caught:
        losses_of(loss)
    assert message in str(caught.value)
    assert ".yaml:" in str(caught.value)


def test_a_pre_training_takes_the_values_alone(tiny_suite, plan_of, tmp_path):
    corpus = {"data": {"source": "cifar10_subset"}, "method": "distill", "teacher": "big"}
    changes = {
        "seeds": [0],
        "teachers": {"big": {"model": "timm/test_resnet", "adapt": ["scratch"], "by_name": True}},
        "pretraining": {"own": corpus | {"loss": {"sp": {"preset": "cifar100"}}}},
        "students": {"small": {"model": "timm/test_efficientnet"}},
        "arms": {"tune": {"method": "finetune", "start": "own"}},
    }
    changes["teachers"]["big"]["weights"] = "pretrained"
    plan = plan_of(tiny_suite(tmp_path, **changes))
    (spec,) = [stage.spec for stage in plan.stages.values() if stage.kind == "pretraining"]
    assert [(loss.name, loss.weight) for loss in spec.loss] == [("sp", 3000)]


def test_a_plugin_s_preset_with_a_loss_that_is_not_there_is_named(tiny_suite, plan_of, tmp_path):
    (file := tmp_path / "mine.py").write_text(
        "from benchbench import Component, hookimpl\n"
        "from benchbench.components import Preset\n\n"
        "@hookimpl\ndef benchbench_losses():\n"
        "    presets = (Preset('own', 'a paper', 1.0, beside={'kdd': 1.0}),)\n"
        "    yield Component('mine', __name__ + ':loss', needs=frozenset({'teacher'}), presets=presets)\n"
    )
    arms = {"distil": {"method": "distill", "loss": {"mine": {"preset": "own"}}}}
    path = tiny_suite(tmp_path, teachers=TEACHER, arms=arms)
    with pytest.raises(SuiteError) as caught:
        plan_of(path, plugins=[file])
    assert "preset 'own' of loss 'mine' cannot be used: unknown loss 'kdd'; did you mean 'kd'?" in str(caught.value)
    assert "preset: own" in path.read_text().splitlines()[caught.value.line - 1]
