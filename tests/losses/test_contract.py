"""The contract of every loss that comes with BenchBench, whatever its formula, on CNNs and transformers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace

import pluggy
import pytest
import torch
from pydantic import ValidationError

import benchbench.losses
from benchbench.components import PROJECT
from benchbench.errors import StageError
from benchbench.hookspecs import Registration
from benchbench.losses.base import Loss
from benchbench.losses.weighted_sum import TEACHER_NEEDS
from benchbench.testing.losses import CHECKS, PAIRS, LossCase, run

COMPONENTS = {component.name: component for component in benchbench.losses.benchbench_losses()}
PROJECTORS = ["linear", "mocov2", "simclr", "simclrv2"]
# Every loss is checked as it comes; these as well, and where a default is out of proportion to the small task, instead.
MORE = [
    ("ce", {"label_smoothing": 0.1}),
    *[(name, {"standardize": True}) for name in ("kd", "dkd", "dist", "nkd", "wsld", "logit_mse", "mlkd", "ctkd")],
    ("mlkd", {"temperatures": [1.0]}),
    ("deit", {"kind": "soft"}),
    ("cc", {"order": 4}),
    *[("align_uniform", {"projector": kind, "dim": 4}) for kind in PROJECTORS],
    # All projectors are of one module: one that is not the default is enough for the others.
    ("crd", {"projector": "simclrv2", "dim": 4, "negatives": 33}),
    ("info_nce", {"projector": "mocov2", "dim": 4}),
    ("seed", {"projector": "linear", "queue": 5}),
    ("simkd", {"factor": 20, "relu": False}),
    ("srd", {"alpha": 1}),
    ("wcord", {"epsilon": 1e-4, "iterations": 3, "dim": 2}),
    ("fitnets", {"relu": True}),
    ("fitnets", {"preparation": 0.1}),
    ("at", {"p": 1}),
    *[(name, {"preparation": 0}) for name in ("fsp", "ab")],
    ("cc", {"form": "neighbours", "dim": 4}),
    ("ttm", {"weighted": True}),
    ("mgd", {"masked": "pixels"}),
    ("catkd", {"normalize": False}),
    ("semckd", {"anchors": 4}),
    ("review", {"warmup_epochs": 0}),
    ("sdd", {"base": "nkd"}),
    ("kdsvd", {"rank": 2}),
    *[(name, {"maps": True}) for name in ("sp", "vid", "srrl", "simkd")],
    ("norm", {"copies": 2}),
    ("fcfd", {"paths": 9, "relu": False, "warmup_epochs": 0}),
    ("head_kd", {"power": 0, "temperature": 2}),
    ("vrm", {"standardize": True, "pruned": 0}),
]
FIXED_START = {"ctkd"}  # their parameters start from a number, not from a random one
CASES = [(name, {}) for name in COMPONENTS] + MORE
# A loss that reads no maps is the same on every pair of networks.
ON_PAIRS = [
    (name, params, pair)
    for name, params in CASES
    for pair in (PAIRS if "features" in COMPONENTS[name].needs_of(params) else ["cnn > cnn"])
]


def case_of(name, params, pair="cnn > cnn") -> LossCase:
    return LossCase(COMPONENTS[name], params, pair)


# The other checks do not depend on the shapes of maps.
ON_EVERY_PAIR = ("terms", "gradients", "resume", "device", "preparation")


@pytest.mark.parametrize(("name", "params", "pair"), ON_PAIRS)
def test_contract(name, params, pair):
    case, failures = case_of(name, params, pair), {}
    for check in CHECKS if pair == "cnn > cnn" else ON_EVERY_PAIR:
        try:
            CHECKS[check](case)
        except AssertionError as error:
            failures[check] = str(error)
    assert failures == {}


@pytest.mark.parametrize(("name", "params"), CASES)
def test_half_precision_outputs_are_read_in_float32(name, params):
    """With and without autocast, to the last bit."""
    case = case_of(name, params)
    half, (student, teacher, batch) = case.step(dtype=torch.bfloat16), case.step(dtype=torch.bfloat16)
    student, teacher = (side.each(torch.Tensor.float) if side else None for side in (student, teacher))
    _, expected = run(case.build(), (student, teacher, batch))
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            _, terms = run(case.build(), half)
        assert terms == expected


@pytest.mark.parametrize("name", [name for name in COMPONENTS if COMPONENTS[name].needs & TEACHER_NEEDS])
def test_missing_outputs_are_refused_at_every_step(name):
    case = case_of(name, {})
    loss, (student, teacher, batch) = case.build(), case.step()
    for stage in (loss, loss.prepare) if loss.preparing() else (loss,):
        with pytest.raises(StageError, match=f"loss '{name}' needs a teacher"):
            stage(student, None, batch)
    if "teacher.logits" in case.component.needs:
        with pytest.raises(StageError, match=f"loss '{name}' needs the teacher's task logits; adapt the teacher"):
            loss(student, replace(teacher, logits=None), batch)
    if "second_view" in case.component.needs:
        with pytest.raises(StageError, match=f"loss '{name}' needs a second view of each image, and this batch has"):
            loss(replace(student, second_view=None), teacher, batch)
    if "token" in case.component.needs:
        advice = (
            f"loss '{name}' needs a student with a distillation token, such as timm/deit_tiny_distilled_patch16_224"
        )
        with pytest.raises(StageError, match=advice):
            loss(replace(student, token_logits=None), teacher, batch)


@pytest.mark.parametrize("name", [name for name in COMPONENTS if "hard_labels" in COMPONENTS[name].needs])
def test_a_loss_that_refuses_mixed_images_has_to(name):
    """Without the need it would be found out: it is not there for caution's sake."""
    component = replace(COMPONENTS[name], needs=COMPONENTS[name].needs - {"hard_labels"})
    with pytest.raises(AssertionError, match="reads the label or the index of one of two mixed images"):
        CHECKS["mixing"](LossCase(component))


def test_components_are_described_and_load():
    for name, component in COMPONENTS.items():
        assert issubclass(component.load(), Loss), name
        assert len(component.summary.splitlines()) == 1, name
        assert component.replaces_head == (component.load().make_head is not None), name
        assert all(field.description for field in component.params.model_fields.values()), name


def test_the_module_is_a_plugin():
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Registration)
    manager.register(benchbench.losses)
    manager.check_pending()
    (offered,) = manager.hook.benchbench_losses()
    assert {component.name for component in offered} == set(COMPONENTS)


def test_registration_does_not_import_torch():
    code = "import sys, benchbench.losses as l; list(l.benchbench_losses()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_training_loop_s_seed_draws_crd_s_negatives():
    case = case_of("crd", {"dim": 4, "negatives": 5})
    values = [run(case.build(), case.step(), seed)[1] for seed in (1, 2)]
    assert values[0]["crd.crd_student"] != values[1]["crd.crd_student"]


@pytest.mark.parametrize(
    "name", [name for name in COMPONENTS if name not in FIXED_START and list(case_of(name, {}).build().parameters())]
)
def test_a_fresh_loss_does_not_go_on_alike(name):
    """The check of resuming would fail for a loss that starts anew."""
    # What trains the student alone first is 0 afterwards.
    case = case_of(name, {"preparation": 0} if COMPONENTS[name].load().prepares == "student" else {})
    values = [run(case.build(seed), case.step())[1] for seed in (1, 2)]
    assert any(values[0][term] != values[1][term] for term in values[0])


def test_unknown_parameters_are_refused():
    accepted = []
    for name, component in COMPONENTS.items():
        with contextlib.suppress(ValidationError):
            accepted.append((name, component.params(unheard_of=1)))
    assert accepted == []


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("ce", {"label_smoothing": -0.1}),
        ("ce", {"label_smoothing": 1.0}),
        ("kd", {"temperature": 0}),
        ("kd", {"temperature": float("inf")}),
        ("kd", {"temperature": float("nan")}),
        ("align_uniform", {"projector": "mlp"}),
        ("align_uniform", {"dim": 0}),
        ("align_uniform", {"dim": 1.5}),
        ("align_uniform", {"alpha": 0.5}),
        ("align_uniform", {"t": 0}),
        ("crd", {"negatives": 0}),
        ("crd", {"temperature": 0}),
        ("crd", {"momentum": -0.1}),
        ("crd", {"momentum": 1}),
        ("crd", {"dim": 0}),
        ("crd", {"projector": "mlp"}),
        ("kd", {"standardize": "perhaps"}),
        *[(name, {"temperature": 0}) for name in ("dkd", "dist", "nkd", "wsld", "tf_kd", "tf_kd_self", "deit")],
        ("info_nce", {"temperature": 0}),
        ("mlkd", {"temperatures": []}),
        *[("ctkd", {name: 0}) for name in ("t_min", "t_range", "loops")],
        *[("ctkd", {name: -1}) for name in ("start", "end")],
        ("tf_kd", {"correct": 0.8}),
        ("tf_kd", {"correct": 1}),
        ("deit", {"kind": "medium"}),
        ("dkd", {"alpha": -1}),
        ("dkd", {"beta": -1}),
        ("dist", {"beta": -1}),
        ("dist", {"gamma": -1}),
        ("nkd", {"gamma": -1}),
        ("rkd", {"distance": -1}),
        ("rkd", {"angle": -1}),
        ("cc", {"gamma": 0}),
        ("cc", {"order": 0}),
        ("vid", {"variance": 0}),
        ("info_nce", {"dim": 0}),
        ("info_nce", {"projector": "mlp"}),
        *[("seed", {name: 0}) for name in ("queue", "teacher_temperature", "student_temperature")],
        ("seed", {"projector": "mlp"}),
        ("simkd", {"factor": 0}),
        ("simkd", {"relu": "perhaps"}),
        ("srd", {"alpha": 0.5}),
        ("srd", {"alpha": 17}),
        *[("wcord", {name: 0}) for name in ("epsilon", "iterations", "dim")],
        *[("wcord", {name: -1}) for name in ("local_weight", "global_weight")],
        *[(name, {"preparation": -0.1}) for name in ("fitnets", "fsp", "ab", "ft")],
        *[(name, {"preparation": 11}) for name in ("fitnets", "fsp", "ab", "ft")],
        ("fitnets", {"relu": "perhaps"}),
        ("at", {"p": 0.5}),
        ("ab", {"margin": 0}),
        ("ft", {"preparation": 0}),
        ("ft", {"rate": 0}),
        ("review", {"warmup_epochs": -1}),
        ("semckd", {"anchors": 0}),
        ("semckd", {"dim": 0}),
        ("catkd", {"size": 0}),
        ("mgd", {"alpha": 0}),
        ("mgd", {"ratio": 1}),
        ("mgd", {"masked": "everything"}),
        ("cwd", {"temperature": 0}),
        ("sdd", {"base": "at"}),
        ("sdd", {"scales": []}),
        ("wkd_logits", {"epsilon": 0.01}),
        ("wkd_features", {"grid": 0}),
        ("kdsvd", {"rank": 0}),
        ("vitkd", {"share": 0}),
        ("norm", {"copies": 0}),
        ("diffkd", {"steps": 11}),
        *[("fgd", {name: -1}) for name in ("alpha", "beta", "gamma", "relation")],
        ("fgd", {"temperature": 0}),
        *[("head_kd", {name: -1}) for name in ("power", "giou", "centerness")],
        ("head_kd", {"temperature": 0}),
        ("vrm", {"pruned": 1}),
    ],
)
def test_bad_parameters_are_refused(name, bad):
    with pytest.raises(ValidationError) as caught:
        COMPONENTS[name].params(**bad)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(bad)]
