"""Epochs of a training run: curves, rates, validation, and the weights that are kept."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.training.finite import NO_CLASS
from benchbench.training.loop import _end_epoch_of
from tests.specs import loss_spec
from tests.training.conftest import STEPS
from tests.training.small import (
    BATCH,
    EPOCHS,
    Run,
    same,
    snapshot,
)


def test_the_curve_holds_the_means_of_an_epoch_s_steps(make):
    run, steps = make([loss_spec("ce", 3.0)]), []
    run.losses.register_forward_hook(lambda _part, _given, out: steps.append((out[0].item(), out[1]["ce"].item())))
    run.run()
    assert [row["epoch"] for row in run.curve] == [1, 2, 3]
    for row, pairs in zip(run.curve, np.array(steps).reshape(EPOCHS, STEPS, 2), strict=True):
        assert [row["loss"], row["ce"]] == pytest.approx(pairs.mean(0).tolist(), rel=1e-6)
        assert row["loss"] == pytest.approx(3 * row["ce"], rel=1e-6)


def test_rates_follow_the_schedule_step_by_step(make):
    run, rates = make(schedule="cosine", warmup_epochs=1, head_lr=0.5), []

    def note(part, _given):
        if part.training:
            rates.append([group["lr"] for group in run.optimizer.param_groups])

    run.model.register_forward_pre_hook(note)
    run.run()
    rising = [step / STEPS for step in range(STEPS)]
    falling = [(1 + math.cos(math.pi * step / (2 * STEPS))) / 2 for step in range(2 * STEPS)]
    for step_rates, factor in zip(rates, rising + falling, strict=True):
        assert step_rates == pytest.approx([0.02 * factor, 0.5 * factor], abs=1e-7)


def epoch_ends(run: Run) -> list[dict[str, torch.Tensor]]:
    """The weights at the end of each epoch of a run."""
    ends: list[dict[str, torch.Tensor]] = []

    def report(progress):
        if progress.done == STEPS * (len(ends) + 1) and len(run.curve) == len(ends) + 1:
            ends.append(snapshot(run.model))

    run.report = report
    run.run()
    return ends


def test_the_best_epoch_s_weights_are_kept(make):
    run = make(best=True, epochs=8, lr=0.2)
    ends = epoch_ends(run)
    accuracies = [row["validation_accuracy"] for row in run.curve]
    chosen = accuracies.index(max(accuracies))  # of equals the first
    assert chosen < 7, "the case should not choose the last epoch"
    assert (run.best_epoch.epoch, run.best_epoch.accuracy) == (chosen + 1, accuracies[chosen])
    assert same(run.model.state_dict(), ends[chosen])
    assert run.hits().mean() == accuracies[chosen]


def test_the_last_epoch_s_weights_are_kept_otherwise(make):
    run = make(best=False, epochs=8, lr=0.2)
    ends = epoch_ends(run)
    assert run.best_epoch is None
    assert same(run.model.state_dict(), ends[-1])
    assert not same(ends[-1], ends[-2])


def test_validation_neither_trains_nor_augments(make):
    run = make()
    run.model.eval()
    (batch,) = run.inputs.validation.test_batches(64)
    before = snapshot(run.model)
    run.model.train()
    hits = run.hits()
    assert same(run.model.state_dict(), before)
    with torch.no_grad():
        assert np.array_equal(hits, (run.model.eval()(batch.images).logits.argmax(1) == batch.labels).numpy())
    with_it, without = make(), make()
    without.without_validation()
    for each in (with_it, without):
        each.run()
    assert same(with_it.model.state_dict(), without.model.state_dict())
    assert [{k: v for k, v in row.items() if k != "validation_accuracy"} for row in with_it.curve] == without.curve


def test_the_accuracy_on_mixed_images_counts_the_label_of_the_larger_share(make):
    run = make(start=2, seed=3, mix=["mixup"], lr=1e-9, epochs=1)
    batches = list(run.inputs.train.train_batches(3, 0, BATCH, 0))
    model = copy.deepcopy(run.model).train()
    right, first = [], []
    for batch in batches:
        chosen = model(batch.images).logits.argmax(1)
        right += (chosen == torch.where(batch.mix.share < 0.5, batch.mix.labels, batch.labels)).tolist()
        first += (chosen == batch.labels).tolist()
    assert sum(right) != sum(first), "the case should tell the two apart"
    run.run()
    assert run.curve[0]["train_accuracy"] == pytest.approx(np.mean(right))


def test_the_average_of_weights_is_evaluated_and_kept_and_trains_nothing(make):
    """A run without it has the weights that the average is taken of."""
    plain, seen = make(epochs=2), []
    step = plain.step
    plain.step = lambda *inputs: (step(*inputs), seen.append(snapshot(plain.model)))
    plain.run()
    expected = seen[0]
    for weights in seen[1:]:
        expected = {
            name: torch.lerp(expected[name], value, 1 - 0.9) if value.is_floating_point() else value
            for name, value in weights.items()
        }
    for best in (False, True):
        run = make(epochs=2, ema=0.9, best=best)
        run.run()
        assert [row["loss"] for row in run.curve] == [row["loss"] for row in plain.curve]
        assert all(torch.allclose(value, expected[name]) for name, value in run.average.values.items())
        kept = run.best_epoch.weights if best else expected
        assert all(torch.allclose(value, kept[name]) for name, value in run.model.state_dict().items())
        accuracy = run.best_epoch.accuracy if best else run.curve[-1]["validation_accuracy"]
        assert run.hits().mean() == accuracy
    assert [row["validation_accuracy"] for row in run.curve] != [row["validation_accuracy"] for row in plain.curve]


@pytest.mark.parametrize(
    ("value", "problem"), [(0, "no pixel or object of the 2 validation images counts"), (NO_CLASS, "not finite")]
)
def test_validation_images_without_a_score(value, problem):
    scores, validation = [], SimpleNamespace(labels=torch.zeros(2, dtype=torch.long))
    boxes = np.full((2, 3, 7), value, np.float32)
    with pytest.raises(StageError, match=problem):
        _end_epoch_of(SimpleNamespace(end_epoch=scores.append), boxes, validation)
    assert scores == [None]  # which says it first where the weights are not finite
