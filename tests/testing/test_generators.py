"""The kit's checks of generators, against ones that work and ones that do not."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.components import Component, Params
from benchbench.plugins import load_plugins
from benchbench.synthesis.base import GeneratorParams
from benchbench.testing.check import Options
from benchbench.testing.generators import CHECKS, GeneratorCase, cases

BUILT_IN = [offer.component for offer in load_plugins().registry.of_kind("augmenter") if offer.component.generates]
WITHOUT_A_MODEL = {"generated_folder", "same_class_mixup"}  # others import diffusers, for seconds


class Noise:
    def __init__(self, params, setting):
        self.card = {}
        self.calls = 0

    def prompt(self, request):
        return None

    def generate(self, requests):
        return [np.random.default_rng(request.seed).random((8, 8, 3)) for request in requests]


class Counting(Noise):
    def generate(self, requests):
        return [np.full((8, 8, 3), place / 10) for place, _ in enumerate(requests)]


class Bright(Noise):
    def generate(self, requests):
        return [3 * image for image in super().generate(requests)]


class Few(Noise):
    def generate(self, requests):
        return super().generate(requests)[1:]


def case(monkeypatch, target: type, params: type[Params] = GeneratorParams) -> GeneratorCase:
    component = Component("some", f"{__name__}:some", params, "", frozenset({"synthesis"}))
    monkeypatch.setattr(Component, "load", lambda self: target)
    return GeneratorCase(component, params())


@pytest.mark.parametrize(
    "component",
    [
        pytest.param(each, id=each.name, marks=() if each.name in WITHOUT_A_MODEL else pytest.mark.whole_run)
        for each in BUILT_IN
    ],
)
def test_those_that_come_with_benchbench_break_none(component):
    for check in cases(component, Options()).values():
        check()


def test_one_that_works(monkeypatch):
    for check in CHECKS.values():
        assert check(case(monkeypatch, Noise)) is None


@pytest.mark.parametrize(
    ("check", "target", "message"),
    [
        ("form", object, "methods generate"),
        ("images", Counting, "changes with those beside it"),
        ("images", Bright, "leaves 0..1"),
        ("images", Few, "3 images for 4 requests"),
    ],
)
def test_a_broken_one_is_told_what_to_change(check, target, message, monkeypatch):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](case(monkeypatch, target))


def test_parameters_of_another_kind(monkeypatch):
    with pytest.raises(AssertionError, match="must derive from"):
        CHECKS["form"](case(monkeypatch, Noise, Params))
