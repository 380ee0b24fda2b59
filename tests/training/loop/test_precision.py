"""Runs that diverge, precisions and layouts."""

from __future__ import annotations

import pytest
import torch

from benchbench.errors import StageError


def test_a_loss_that_is_not_finite_is_named(make):
    run = make(["ce", "ruined"], batch_size=64)
    with pytest.raises(StageError) as caught:
        run.run()
    assert str(caught.value) == ("loss is nan in epoch 1 (terms: ruined.boom); lower the rate or the term's weight")


def test_a_run_that_diverges_ends(make):
    run = make(epochs=30, lr=1e30, optimizer="sgd")
    with pytest.raises(StageError, match=r"loss is (nan|inf) in epoch \d+ \(terms: ce\); lower the rate"):
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
