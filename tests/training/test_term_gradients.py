"""Gradients of the losses at the first step: their values, what they say in the log, and that they change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from benchbench.components import Component, Offer
from benchbench.losses.base import LossContext
from benchbench.losses.methods.kd import distillation_kl
from benchbench.losses.multi_teacher import MultiTeacherLoss
from benchbench.specs.records import GradientRecord
from benchbench.training import loop
from benchbench.training.term_gradients import advice, term_gradients
from tests.specs import loss_spec
from tests.training.conftest import network
from tests.training.small import CRD, SIMCLR, EveryStep, assert_same_end

LOSSES = ("ce", loss_spec("kd", 0.9), CRD, SIMCLR)


def blind(student, teacher, batch):
    """A loss that the student cannot change: one class has probability 1."""
    return {"blind": F.softmax(student.logits[:, :1], dim=1).mean() + 0 * teacher.embedding.sum()}


def broken(student, teacher, batch):
    raise ValueError("no")


def pulled(student, teacher, batch):
    """A loss that each of several teachers has for itself."""
    return {"pulled": F.mse_loss(student.embedding, teacher.embedding[:, :6])}


@pytest.fixture(scope="module", autouse=True)
def _losses(registry):
    for function in (blind, broken, pulled):
        needs = frozenset({"teacher"})
        registry.add(
            Offer("loss", Component(function.__name__, f"{__name__}:{function.__name__}", needs=needs), "here")
        )


def first_step(run):
    """The first batch, and the teacher's outputs for it."""
    batch = next(iter(run.inputs.train.train_batches(run.inputs.data_seed, 0, run.recipe.batch_size, 0)))
    with torch.no_grad():
        return batch, [teacher(batch, False) for teacher in run.inputs.teachers]


def norm(model, value) -> float:
    gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
    return torch.cat([gradient.flatten().double() for gradient in gradients]).norm().item()


def test_norms(make):
    run = make((loss_spec("ce", 0.5), loss_spec("kd", 0.9), loss_spec("dkd", 2.0)))
    batch, outputs = first_step(run)
    record = term_gradients(run.model, run.losses, batch, outputs, run.recipe)
    logits = run.model(batch.images).logits
    assert record.cross_entropy == pytest.approx(norm(run.model, 0.5 * F.cross_entropy(logits, batch.labels)), rel=1e-5)
    kd = norm(run.model, 0.9 * distillation_kl(logits, outputs[0].logits))
    assert list(record.terms) == ["kd", "dkd.target", "dkd.non_target"]
    assert record.terms["kd"] == pytest.approx(kd, rel=1e-5)


def test_a_loss_of_each_teacher_counts_by_its_share(make, registry):
    run = make(("ce", "pulled"))
    batch, (outputs,) = first_step(run)
    context = LossContext(
        classes=run.model.classes,
        student_dim=run.model.dim,
        student_head=run.model.head,
        teacher_dim=run.teachers[0].dim,
        teacher_head=None,
        labels=batch.labels,
        epochs=run.recipe.epochs,
        device=run.device,
    )
    losses = MultiTeacherLoss([loss_spec("ce"), loss_spec("pulled", 100.0)], registry, [context] * 2, [0.9, 0.1])
    record = term_gradients(run.model, losses, batch, [outputs] * 2, run.recipe)
    value = pulled(run.model(batch.images), outputs, batch)["pulled"]
    assert list(record.terms) == ["pulled 1", "pulled 2"]
    for term, factor in zip(record.terms, (90.0, 10.0), strict=True):
        assert record.terms[term] == pytest.approx(norm(run.model.trunk, factor * value), rel=1e-5)


def run_with_and_without(make, losses, monkeypatch):
    """A finished run that was measured, and ended as one that was not, to the last bit."""
    measured, plain = (make(losses, dropout=0.5) for _ in range(2))
    measured.run()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "term_gradients", lambda *args: None)
        plain.run()
    assert plain.gradients is None
    assert_same_end(measured, plain)
    return measured


def test_the_run_is_the_same_with_and_without(make, monkeypatch):
    """Dropout, batch statistics, a memory bank and projectors: to the last bit."""
    measured = run_with_and_without(make, LOSSES, monkeypatch)
    assert set(measured.gradients.terms) == {
        "kd",
        "crd.crd_student",
        "crd.crd_teacher",
        *(f"align_uniform.{name}" for name in ("align", "uniform")),
    }


def test_it_is_kept_by_checkpoints(make, tmp_path):
    checkpoints = EveryStep(make().checkpoints.folder)
    run = make(LOSSES, checkpoints=checkpoints)
    run.run()
    checkpoints.folder.checkpoint.write_bytes(checkpoints.files[1, 2])
    resumed = make(LOSSES)
    resumed.run(resumed.checkpoints.load())
    assert run.gradients is not None
    assert resumed.gradients == run.gradients


def test_what_warms_up_is_measured_in_the_middle(make):
    run = make(("ce", loss_spec("dkd", warmup_epochs=3.0)))
    batch, outputs = first_step(run)
    recipes = [run.recipe.model_copy(update={"epochs": epochs}) for epochs in (3, 6)]
    half, whole = (term_gradients(run.model, run.losses, batch, outputs, recipe) for recipe in recipes)
    assert half.terms["dkd.target"] == pytest.approx(whole.terms["dkd.target"] / 2)
    assert half.terms["dkd.target"] > 0


def test_the_log_names_losses_that_vanish(make, capsys):
    run = make(("ce", "blind", loss_spec("kd", 1e-6)))
    batch, outputs = first_step(run)
    record = term_gradients(run.model, run.losses, batch, outputs, run.recipe)
    assert set(record.vanishing()) == {"blind", "kd"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("loss 'blind' hardly trains the student: ")
    assert "loss 'kd' hardly trains the student: its gradient is " in lines[1]
    assert " of cross-entropy's; with a weight of " in lines[1]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.0, "no gradient of it reaches the student, whose outputs do not change its value"),
        (
            1e-8,
            "its gradient is 1e-08 of cross-entropy's; that is rounding: on these networks its value hardly depends",
        ),
        (
            2e-5,
            "its gradient is 2e-05 of cross-entropy's; with a weight of 1e+03 in place of 0.02 it would be as large",
        ),
    ],
)
def test_advice(ratio, words):
    assert advice(ratio, 0.02).startswith(words)


def test_losses_without_a_teacher(make, monkeypatch, capsys):
    """They are named in the log, and the training is the same to the last bit."""
    losses = ("ce", loss_spec("tf_kd", 1e-9))
    measured = run_with_and_without(make, losses, monkeypatch)
    assert capsys.readouterr().out.count("loss 'tf_kd' hardly trains the student") == 1
    assert list(measured.gradients.terms) == ["tf_kd"]


def test_a_resumed_training_does_not_measure_again(make, monkeypatch):
    losses = ("ce", loss_spec("tf_kd"))
    checkpoints = EveryStep(make().checkpoints.folder)
    run = make(losses, checkpoints=checkpoints)
    run.run()
    checkpoints.folder.checkpoint.write_bytes(checkpoints.files[0, 1])
    monkeypatch.setattr(loop, "term_gradients", lambda *args: pytest.fail("measured again"))
    resumed = make(losses)
    resumed.run(resumed.checkpoints.load())
    assert resumed.gradients == run.gradients
    assert resumed.gradients is not None


def test_cross_entropy_alone_has_nothing_beside_it(make, monkeypatch):
    monkeypatch.setattr(loop, "term_gradients", lambda *args: pytest.fail("measured"))
    make(("ce",)).run()


def test_nothing_beside_nothing_vanishes():
    record = GradientRecord(cross_entropy=0.0, terms={"kd": 0.0, "dkd.target": 0.0, "dkd.non_target": 1e-9})
    assert record.vanishing() == {"kd": 0.0}


def test_of_a_loss_that_fails_nothing_is_known(make, capsys):
    run = make(("ce", "broken"))
    batch, outputs = first_step(run)
    assert term_gradients(run.model, run.losses, batch, outputs, run.recipe) is None
    assert capsys.readouterr().out == "gradients of the losses are not known (ValueError: no)\n"
    assert term_gradients(network(0, classes=None), run.losses, replace(batch), outputs, run.recipe) is None
