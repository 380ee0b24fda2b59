"""The checks of metrics tell a broken one what to change."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.components import Component
from benchbench.models.registry import FPNParams
from benchbench.plugins import load_plugins
from benchbench.testing import check_component

MODULE = __name__


def accuracy(answers, classes):
    return (answers.classes[:, 0] == answers.labels).mean()


def pixels(confusions, classes):
    return np.trace(confusions.sum(0)) / confusions.sum()


def error(answers, classes):
    return 1 - accuracy(answers, classes)


def percent(answers, classes):
    return 100 * accuracy(answers, classes)


def words(answers, classes):
    return "good"


def writes(answers, classes):
    value = accuracy(answers, classes)
    answers.labels[:] = 0
    return value


def failures(function: str, **fields) -> str:
    results = check_component("metric", Component("mine", f"{MODULE}:{function}", **fields))
    return "; ".join(result.message for result in results if result.status == "failed")


def test_sound_metrics_pass():
    assert failures("accuracy") == ""
    assert failures("pixels", dense=True) == ""
    for metric in load_plugins().registry.of_kind("metric"):
        assert all(each.status != "failed" for each in check_component("metric", metric.component))


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("error", "the higher value is the better one"),
        ("percent", "it gives 100.0: give a finite number of 0..1"),
        ("words", "it gives a str: give a number of 0..1"),
        ("writes", "it writes into the answers"),
    ],
)
def test_a_broken_one_is_told_what_to_change(function, problem):
    assert problem in failures(function)


def test_parameters_are_refused():
    assert "a metric takes no parameters" in failures("accuracy", params=FPNParams)
