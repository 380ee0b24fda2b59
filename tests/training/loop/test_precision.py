"""Runs that diverge, precisions and layouts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from tests.training.cohort.conftest import breaking
from tests.training.conftest import STEPS
from tests.training.small import BATCH, CLASSES


def test_a_loss_that_is_not_finite_is_named(make):
    run = make(["ce", "ruined"], batch_size=64)
    with pytest.raises(StageError) as caught:
        run.run()
    assert str(caught.value) == ("loss is nan in epoch 1 (terms: ruined.boom); lower the rate or the term's weight")


def test_a_run_that_diverges_ends(make):
    run = make(epochs=30, lr=1e30, optimizer="sgd")
    with pytest.raises(StageError, match=r"loss is (nan|inf) in epoch \d+ \(terms: ce\); lower the rate"):
        run.run()


class Ruining(torch.autograd.Function):
    """A term of zero with a gradient that is not finite."""

    @staticmethod
    def forward(_context, values):
        return values.sum() * 0

    @staticmethod
    def backward(context, gradient):
        return gradient * torch.full((BATCH, CLASSES), float("inf"))


def test_weights_that_only_the_last_step_ruins_end_the_run(make):
    """Every loss is finite: no step sees what the last one has left."""
    run = make(epochs=1)
    real, calls = run.losses.forward, []

    def forward(student, teachers, batch):
        total, terms = real(student, teachers, batch)
        calls.append(batch)
        return (total + Ruining.apply(student.logits) if len(calls) == STEPS else total), terms

    run.losses.forward = forward
    with pytest.raises(StageError, match=r"^weights are not finite after epoch 1 \(\S+, .* more\), though its losses"):
        run.run()
    assert run.curve == []


def test_a_loss_names_its_first_broken_step(make):
    run = make()
    breaking(run, STEPS + 3, float("nan"))
    with pytest.raises(StageError, match=rf"^loss is nan in epoch 2 .*\(first at step 3 of {STEPS}\)$"):
        run.run()


def test_a_network_that_gives_no_numbers_in_eval_mode_fails(make):
    """Its losses are finite, and so are its weights."""
    run = make()
    run.model.register_forward_hook(
        lambda part, _given, out: out if part.training else replace(out, logits=out.logits * float("inf"))
    )
    with pytest.raises(StageError, match=r"^logits are not finite on 18 of 18 validation images"):
        run.run()


def test_a_batch_of_one_image_that_batch_normalisation_cannot_take_is_refused(make):
    run = make(batch_size=1)
    run.model.trunk.append(nn.BatchNorm1d(run.model.dim))
    with pytest.raises(StageError, match=r"^batch normalisation cannot train on a batch of 1 image, .*`batch_size`"):
        run.run()


def test_half_precision_needs_a_gpu(make):
    with pytest.raises(StageError) as caught:
        make(precision="fp16").run()
    assert str(caught.value) == "precision fp16 needs a GPU; use bf16 or fp32 on the CPU"


def test_bf16_computes_in_half_and_keeps_weights_in_full(make):
    run, full = make(precision="bf16"), make()
    kinds = set()
    run.model.trunk[0].register_forward_hook(lambda _part, _given, out: kinds.add(out.dtype))
    for each in (run, full):
        each.run()
    assert kinds == {torch.bfloat16}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert run.curve[-1]["ce"] != full.curve[-1]["ce"]
    assert run.curve[-1]["ce"] == pytest.approx(full.curve[-1]["ce"], rel=0.1)


def test_channels_last_changes_the_layout_and_not_the_result(make):
    run, plain = make(channels_last=True), make()
    layouts = set()
    run.model.register_forward_pre_hook(
        lambda _part, inputs: layouts.add(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    for each in (run, plain):
        each.run()
    assert layouts == {True}
    assert run.curve[-1]["ce"] == pytest.approx(plain.curve[-1]["ce"], rel=1e-3)
