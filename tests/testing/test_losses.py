"""The checks of losses: a broken loss fails with advice, a good one passes."""

from __future__ import annotations

import random
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchbench.errors import StageError
from benchbench.losses.base import Loss
from benchbench.losses.catalog.embeddings import DenseParams
from benchbench.testing import check_component
from benchbench.testing.losses import CHECKS, LossCase
from benchbench.testing.pairs import gradient

TEACHER = frozenset({"teacher", "teacher.logits"})


def faint(student, teacher, batch):
    return 1e-5 * F.cross_entropy(student.logits, batch.labels)


def rounding(student, teacher, batch):
    return 1e-9 * F.cross_entropy(student.logits, batch.labels)


def fine(student, teacher, batch):
    return F.mse_loss(student.logits, teacher.logits)


def varies(student, teacher, batch):
    return student.logits.sum() / (len(batch.labels) - 1)  # infinite for one image


def half(student, teacher, batch):
    return student.logits.sum().half()


def detached(student, teacher, batch):
    return student.logits.detach().sum()


def multiplies_in_half_precision(student, teacher, batch):
    with torch.autocast("cpu", torch.bfloat16):
        return (student.embedding @ student.embedding.T).float().mean()


def draws(student, teacher, batch):
    return student.logits.square().mean() * random.random()


def ignores_the_teacher(student, teacher, batch):
    return student.logits.square().mean()


def gram(student, teacher, batch):
    ours, theirs = (F.normalize(side.embedding) for side in (student, teacher))
    return (ours @ ours.T - theirs @ theirs.T).square().mean()


def of_each_label(student, teacher, batch):
    weights = torch.ones_like(batch.labels).unsqueeze(1)
    return (weights * F.normalize(student.embedding)).mean() - teacher.embedding.mean() * 0


def reads_labels(student, teacher, batch):
    return F.cross_entropy(student.logits, batch.labels)


def reads_places(student, teacher, batch):
    return (student.logits.square().mean(1) * (batch.index + 1)).mean()


class Counts(Loss):
    """Keeps state where no checkpoint sees it."""

    def __init__(self, context):
        super().__init__(context)
        self.calls = 0

    def forward(self, student, teacher, batch):
        self.calls += 1
        return {"counts": self.calls * student.logits.square().mean()}


class Projects(Loss):
    def __init__(self, context):
        super().__init__(context)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, student, teacher, batch):
        return {"projects": self.weight * student.logits.square().mean()}


class Elsewhere(Projects):
    """Leaves a constant where it was made."""

    def __init__(self, context):
        super().__init__(context)
        self.scale = torch.ones(())


class Unused(Projects):
    def forward(self, student, teacher, batch):
        return {"unused": student.logits.square().mean()}


class NeverPrepares(Projects):
    prepares = "parts"


class TrainsTheTeacher(Loss):
    """Reads the teacher's classifier with a gradient."""

    def __init__(self, context):
        super().__init__(context)
        self.head = (context.teacher_head.requires_grad_(),)

    def forward(self, student, teacher, batch):
        return {"mine": F.mse_loss(student.logits, self.head[0](teacher.embedding))}


class PreparesNothing(Projects):
    prepares = "parts"
    preparation = 0.5

    def prepare(self, student, teacher, batch):
        return {"mine": teacher.logits.square().mean().requires_grad_()}


class OnlyCnns(Projects):
    """Refuses networks whose maps are all of one size."""

    def __init__(self, context):
        super().__init__(context)
        sides = {shape[-1] for shape in context.student_features}
        if len(sides) == 1:
            raise StageError("the student's maps are all of one size")


class OnNothing(Projects):
    def __init__(self, context):
        raise StageError("not today")


BROKEN = [
    ("terms", varies, "term 'mine' is -?inf with a batch of 1 in float32: look for a division by 0"),
    ("terms", half, "term 'mine' is torch.float16 with a batch of 1 in float32: give it in float32"),
    ("gradients", detached, "no gradient reaches the student"),
    ("gradients", TrainsTheTeacher, "the teacher's classifier gets a gradient"),
    ("gradients", Unused, "its parameter .*weight gets no gradient"),
    ("precision", multiplies_in_half_precision, "it computes in half precision .*: leave its inputs in float32"),
    ("determinism", draws, "with the same seed: draw from torch's global generator alone"),
    ("resume", Counts, "after a resume: keep state in parameters and buffers"),
    ("device", Elsewhere, "is not on the training device"),
    ("teacher", ignores_the_teacher, "take the teacher out of its needs"),
    ("mixing", reads_labels, "term 'mine' reads the label or the index of one of two mixed images: add `hard_labels`"),
    ("mixing", reads_places, "add `hard_labels` to its needs, or use `batch.mix` too"),
    ("preparation", NeverPrepares, "`preparation` is 0"),
    ("preparation", PreparesNothing, "`prepare` trains nothing"),
]


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_loss_fails_with_advice(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](LossCase(component(target, needs=TEACHER)))


def test_every_check_has_a_loss_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_a_good_loss_breaks_none(component):
    case = LossCase(component(fine, needs=TEACHER))
    for check in CHECKS.values():
        check(case)


@pytest.mark.parametrize("target", [reads_labels, reads_places])
def test_a_loss_that_needs_hard_labels_may_read_them(component, target):
    CHECKS["mixing"](LossCase(component(target, needs=frozenset({"hard_labels"}))))


class TestPairs:
    def findings(self, component, target, monkeypatch, needs=frozenset({"features"})):
        monkeypatch.setattr("benchbench.testing.pairs.SECONDS", 0.0)
        findings = check_component("loss", component(target, needs=needs))
        return {finding.check: finding for finding in findings if finding.check not in ("name", "loads", "params")}

    def test_a_loss_without_maps_sees_one_pair(self, component, monkeypatch):
        findings = self.findings(component, fine, monkeypatch, TEACHER)
        assert list(findings) == ["teacher > student: cnn > cnn", *CHECKS, "gradient", "speed"]
        assert {finding.status for finding in findings.values()} == {"ok"}
        assert " ms a step of 64 images on one core, " in findings["speed"].message

    def test_the_gradient_beside_cross_entropy_s(self, component):
        remark = gradient(component(fine, needs=TEACHER), {})
        assert re.fullmatch(r"[\d.e-]+ x the built-in ce's", remark)
        assert gradient(component(faint, needs=TEACHER), {}).endswith("its weight is to be about 1e+05")
        with pytest.raises(AssertionError, match="which is rounding: the student cannot change the loss"):
            gradient(component(rounding, needs=TEACHER), {})

    @pytest.mark.parametrize(("target", "status"), [(gram, "ok"), (of_each_label, "failed")])
    def test_a_loss_that_takes_positions_is_checked_on_them(self, component, monkeypatch, target, status):
        monkeypatch.setattr("benchbench.testing.pairs.SECONDS", 0.0)
        made = component(target, params=DenseParams, needs=frozenset({"teacher"}))
        findings = {finding.check: finding.status for finding in check_component("loss", made)}
        assert findings["dense: true"] == status
        assert findings["terms"] == "ok"

    def test_a_refusal_is_no_failure_and_the_other_pairs_are_checked(self, component, monkeypatch):
        findings = self.findings(component, OnlyCnns, monkeypatch)
        assert findings["teacher > student: cnn > vit"].status == "refused"
        assert findings["teacher > student: cnn > vit"].message == "the student's maps are all of one size"
        assert {finding.status for name, finding in findings.items() if "cnn > vit" not in name} == {"ok"}

    def test_a_loss_that_refuses_everything_fails(self, component, monkeypatch):
        findings = self.findings(component, OnNothing, monkeypatch)
        assert findings["terms"].message == "it refuses every pair of networks, so nothing can be checked"
        assert findings["speed"].status == "refused"

    def test_the_pair_is_named(self, component, monkeypatch):
        findings = self.findings(component, Elsewhere, monkeypatch)
        assert findings["device"].message.startswith("cnn > cnn: ")
        assert "is not on the training device" in findings["device"].message
