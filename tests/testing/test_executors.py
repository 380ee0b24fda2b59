"""The checks of executors."""

from __future__ import annotations

import pytest

from benchbench.executors.base import Executor
from benchbench.executors.inline import InlineExecutor
from benchbench.executors.local import LocalExecutor
from benchbench.executors.pilots import PilotExecutor
from benchbench.executors.ray import RayExecutor
from benchbench.executors.slurm import SlurmExecutor
from benchbench.testing.executors import CHECKS


class WithoutClose(Executor):
    def submit(self, slot, stages):
        pass

    def wait(self, timeout, handle):
        pass


class NoHandler(LocalExecutor):
    def wait(self, timeout):
        return []


class OwnDevices(LocalExecutor):
    @classmethod
    def find_devices(cls):
        return None


class OwnConstructor(LocalExecutor):
    def __init__(self, devices):
        pass


class WithoutCancel(PilotExecutor):
    most, demand = 1, ()

    def start(self, count):
        pass

    def pilots(self):
        return []

    def withdraw(self):
        pass

    def end(self, names):
        pass


class WithoutDemand(WithoutCancel):
    demand = PilotExecutor.demand


class OwnOrder(WithoutCancel):
    def __init__(self):
        pass


BROKEN = [
    ("class", lambda devices, settings: None, "is no class derived from benchbench.executors.base.Executor"),
    ("class", Executor, "is no class derived from"),
    ("constructor", OwnConstructor, r"its constructor does not take \(devices, settings\)"),
    ("methods", WithoutClose, r"it does not define close\(\)"),
    ("devices", OwnDevices, r"its find_devices\(\) does not take \(request\)"),
    ("methods", WithoutCancel, r"it does not define cancel\(\)"),
    ("methods", WithoutDemand, r"it does not define the property demand"),
    ("devices", WithoutCancel, r"it does not define find_devices\(\)"),
    ("constructor", OwnOrder, r"its constructor does not take \(order\)"),
    ("methods", NoHandler, r"wait\(\) does not take \(self, timeout"),
]


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_executor_fails_with_a_remedy(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](component(target))


def test_every_check_has_an_executor_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


@pytest.mark.parametrize("executor", [LocalExecutor, InlineExecutor, SlurmExecutor, RayExecutor])
def test_a_good_executor_breaks_none(component, executor):
    for check in CHECKS.values():
        check(component(executor))
