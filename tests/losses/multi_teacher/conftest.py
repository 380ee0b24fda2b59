"""Losses that write down what they see, and two teachers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.components import Component, Offer, Params
from benchbench.losses.base import Loss, LossContext
from benchbench.models.outputs import Outputs
from benchbench.plugins import load_plugins


class Probe(Loss):
    """Notes the outputs it is called with; its terms are its one parameter times a mean of the teacher's logits."""

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.context = context
        self.scale = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[Outputs | None, Outputs | None]] = []

    def forward(self, student, teacher, batch):
        self.calls.append((student, teacher))
        return {"mean": self.scale * teacher.logits.mean() if teacher and teacher.logits is not None else self.scale}

    def prepare(self, student, teacher, batch):
        self.calls.append((student, teacher))
        return {"prepared": 10 * self.scale * teacher.logits.mean()}


class Parts(Probe):
    prepares = "parts"

    def __init__(self, context, share: float = 0.25):
        super().__init__(context)
        self.preparation = share


class Student(Parts):
    prepares = "student"


def sized(student_dim, teacher_dim, classes, **params):
    head = nn.Linear(student_dim, classes)
    head.arguments = (student_dim, teacher_dim, classes, params)
    return head


class Replacing(Probe):
    make_head = sized

    def __init__(self, context, width: int = 3):
        super().__init__(context)


class AlsoReplacing(Replacing):
    pass


class ShareParams(Params):
    share: float = 0.25


class WidthParams(Params):
    width: int = 3


NEEDS = {
    "on_nothing": (Probe, Params, set()),
    "on_logits": (Probe, Params, {"teacher.logits"}),
    "on_features": (Probe, Params, {"features"}),
    "on_token": (Probe, Params, {"teacher.logits", "token"}),
    "on_embedding": (Probe, Params, {"teacher"}),
    "on_both": (Probe, Params, {"teacher", "teacher.logits"}),
    "on_maps_and_logits": (Probe, Params, {"features", "teacher.logits"}),
    "parts": (Parts, ShareParams, {"teacher.logits"}),
    "parts_apart": (Parts, ShareParams, {"teacher", "teacher.logits"}),
    "student": (Student, ShareParams, {"teacher.logits"}),
    "student_apart": (Student, ShareParams, {"teacher"}),
    "replacing": (Replacing, WidthParams, {"teacher.logits"}),
    "also_replacing": (AlsoReplacing, WidthParams, {"teacher.logits"}),
}


@pytest.fixture
def registry():
    registry = load_plugins().registry
    for name, (target, params, needs) in NEEDS.items():
        component = Component(name, f"{__name__}:{target.__name__}", params, needs=frozenset(needs))
        registry.add(Offer("loss", component, "here"))
    return registry
