from __future__ import annotations

import pytest
import torch

from benchbench.augmenters import benchbench_augmenters
from benchbench.components import Component, Offer, Params, Registry
from benchbench.doctor.parity import CPU, LOADERS, Comparison, compare_loader, findings_of, look
from benchbench.losses import benchbench_losses


def loss_of_nan(student, teacher, batch):
    return {"nan_loss": student.logits.sum() * float("nan")}


def loss_that_fails(student, teacher, batch):
    raise ValueError("no such thing")


def good_loss(student, teacher, batch):
    return {"good_loss": student.logits.square().mean()}


class NeedyParams(Params):
    needed: int


HERE = "tests.doctor.test_parity"
LOSSES = [
    Component("good_loss", f"{HERE}:good_loss"),
    Component("nan_loss", f"{HERE}:loss_of_nan"),
    Component("failing_loss", f"{HERE}:loss_that_fails"),
    Component("needy_loss", f"{HERE}:good_loss", NeedyParams),
]


def registry_of(losses, augmenters=()) -> Registry:
    registry = Registry()
    for kind, components in (("loss", losses), ("augmenter", augmenters)):
        for component in components:
            registry.add(Offer(kind, component, "a test"))
    return registry


def test_a_component_that_fails_is_a_problem_of_its_own():
    findings = {each.name: each for each in look(registry_of(LOSSES), CPU)}
    assert findings["losses: nan_loss"].text == "a result is not finite"
    assert "no such thing" in findings["losses: failing_loss"].text
    assert findings["losses"].level == "problem"
    assert findings["losses"].text.startswith("1 of 3 work")
    assert "not tried: needy_loss" in findings["losses"].text
    assert findings["loaders"].level == "ok"
    assert all(each.advice for each in findings.values() if each.name.startswith("losses: "))


def test_the_built_in_losses_and_augmenters_work_here():
    some = {"ce", "kd", "crd", "deit", "fitnets", "simkd"}
    losses = [each for each in benchbench_losses() if each.name in some]
    augmenters = [each for each in benchbench_augmenters() if each.name in ("flip", "dsa", "cutmix", "synthetic")]
    findings = {each.name: each for each in look(registry_of(losses, augmenters), CPU)}
    assert findings.keys() == {"losses", "augmenters", "loaders"}
    assert findings["losses"].text == "6 of 6 work, with finite results"
    assert findings["augmenters"].figures["works"] == 3


def test_what_differs_from_the_cpu_or_waits_is_told():
    comparisons = [Comparison("near", deviation=1e-6), Comparison("far", deviation=0.5)]
    comparisons += [Comparison("nan", deviation=float("nan")), Comparison("slow", None, 0.0, ("a.py:3", "a.py:3"))]
    levels = {each.name: (each.level, each.text) for each in findings_of("losses", comparisons)}
    assert levels["losses: far"] == ("problem", "differs from the CPU by 5.0e-01, more than 1e-03")
    assert levels["losses: nan"][0] == "problem"
    assert levels["losses: slow"] == ("note", "makes the host wait for the device 2 times a call (a.py:3)")
    assert "losses: near" not in levels


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_give_the_same_batches_twice(name):
    assert compare_loader(name, CPU) == Comparison(name)


def test_a_device_that_is_not_there_is_a_failure_of_the_loader():
    comparison = compare_loader("in memory", torch.device("cuda", 99))
    assert comparison.failure
