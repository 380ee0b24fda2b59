"""A training run: its seed, its teachers, its steps, and a run that goes on from a checkpoint."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchbench.seeds import seed_everything
from benchbench.store import StageFolder
from benchbench.training.checkpoints import Checkpoints
from tests.training.conftest import STEPS
from tests.training.small import (
    CPU,
    CRD,
    EPOCHS,
    SIMCLR,
    EveryStep,
    assert_same_end,
    same,
    snapshot,
)

RESUMED = {
    "scratch": {"losses": ["ce"], "dropout": 0.5},
    "linear probe": {"losses": ["ce"], "linear_probe": True, "optimizer": "sgd"},
    "projectors": {"losses": ["ce", SIMCLR, "kd"], "dropout": 0.5, "best": True, "schedule": "cosine"},
    "memory bank": {
        "losses": ["ce", CRD],
        "optimizer": "sgd",
        "schedule": "step",
        "milestones": [1],
        "warmup_epochs": 1,
    },
    "mixed images": {"losses": ["ce", "kd"], "mix": ["mixup"]},
    "two views": {"losses": ["ce", "vrm"], "dropout": 0.2, "accumulate": 2},
    "two momenta": {"losses": ["ce", SIMCLR, "kd"], "optimizer": "sgd", "dot": 0.075},
    "clipped parts, averaged": {
        "losses": ["ce", "kd"],
        "dropout": 0.2,
        "accumulate": 2,
        "clip_grad": 0.5,
        "ema": 0.9,
        "optimizer": "timm/lamb",
        "best": True,
    },
    "srrl, bf16": {"losses": ["ce", "srrl"], "dropout": 0.2, "precision": "bf16", "best": True},
}
EVERY = 4


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.whole_run
def test_a_run_resumed_at_any_step_ends_bit_for_bit_the_same(case, make, tmp_path):
    """Each case at every fourth of its checkpoints, from another one on, so that two resume at any step."""
    options, first = RESUMED[case], list(RESUMED).index(case) % EVERY
    undisturbed = make(**options)
    undisturbed.run()
    every = EveryStep(StageFolder(tmp_path))
    saving = make(**options, checkpoints=every)
    saving.run()
    assert_same_end(saving, undisturbed)  # saving changes nothing
    assert len(every.files) == EPOCHS * (STEPS + 1)
    for index, content in list(enumerate(every.files.values()))[first::EVERY]:
        folder = StageFolder(tmp_path / str(index) / tmp_path.name)  # a stage is known by its folder
        folder.path.mkdir(parents=True)
        folder.checkpoint.write_bytes(content)
        checkpoints = Checkpoints(folder, 1e9)
        # Other initial weights, projectors and random state: all that counts is in the checkpoint.
        resumed = make(**options, start=5 + index, checkpoints=checkpoints)
        seed_everything(index, CPU)
        resumed.run(checkpoints.load())
        assert_same_end(resumed, undisturbed)


def test_a_run_is_its_seed_s(make):
    runs = [make(dropout=0.5, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        torch.seed()
        run.run()
    assert same(runs[0].model.state_dict(), runs[1].model.state_dict())
    assert runs[0].curve == runs[1].curve
    assert not same(runs[0].model.state_dict(), runs[2].model.state_dict())


def test_dropout_differs_from_step_to_step(make):
    """The global generator is seeded at every step, but not the same."""
    run, masks = make(dropout=0.5, epochs=2), []
    run.model.trunk[5].register_forward_hook(lambda part, inputs, out: masks.append((out == 0) & (inputs[0] != 0)))
    run.run()
    training = [mask.numpy().tobytes() for mask in masks if mask.any()]
    assert len(training) == len(set(training)) == 2 * STEPS


DISTILLING = ["align_uniform", CRD, "kd", "srrl"]


@pytest.mark.parametrize(
    "losses",
    [*([each] for each in DISTILLING), DISTILLING],
    ids=lambda chosen: "+".join(each if isinstance(each, str) else each.name for each in chosen),
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_teacher_stays_as_it_is(losses, precision, make):
    run = make(["ce", *losses], epochs=1, precision=precision)
    before = snapshot(run.teachers[0])
    student, parts = snapshot(run.model), snapshot(run.losses)
    run.teachers[0].train()
    run.run()
    assert same(run.teachers[0].state_dict(), before)
    assert not any(part.training for part in run.teachers[0].modules())
    assert all(parameter.grad is None for parameter in run.teachers[0].parameters())
    # The rest did train: the student with its batch statistics, and everything that the losses own.
    for state, module, still in ((student, run.model, ["mean", "std"]), (parts, run.losses, [])):
        assert [name for name, tensor in module.state_dict().items() if torch.equal(tensor, state[name])] == still


def test_a_linear_probe_moves_the_head_alone(make):
    run = make(linear_probe=True, dropout=0.5)
    before = snapshot(run.model)
    run.run()
    changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert not run.model.trunk.training


def test_it_learns(make):
    run = make(epochs=12)
    run.run()
    assert run.curve[-1]["ce"] < 0.5 * run.curve[0]["ce"]
    assert run.curve[-1]["validation_accuracy"] > 0.8
    assert run.curve[-1]["train_accuracy"] > 0.8


def test_one_sgd_step_is_the_gradient_s(make):
    """A whole epoch of one step, by hand."""
    run = make(
        ["ce", "kd"], epochs=1, batch_size=64, optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, head_lr=0.3
    )
    model = copy.deepcopy(run.model).train()
    (batch,) = run.inputs.train.train_batches(1, 0, 64, 0)
    run.run()
    logits = model(batch.images).logits
    teacher_logits = run.teachers[0](batch.images).logits
    ce = nn.functional.cross_entropy(logits, batch.labels)
    kd = 16 * nn.functional.kl_div((logits / 4).log_softmax(1), (teacher_logits / 4).softmax(1), reduction="batchmean")
    (ce + kd).backward()
    parameters = dict(run.model.named_parameters())
    for name, parameter in model.named_parameters():
        rate = 0.3 if name.startswith("head.") else 0.1
        assert torch.allclose(parameters[name], parameter - rate * parameter.grad, atol=1e-6)
    (row,) = run.curve
    assert row["ce"] == pytest.approx(ce.item(), rel=1e-5)
    assert row["kd"] == pytest.approx(kd.item(), rel=1e-5)
    assert row["loss"] == pytest.approx((ce + kd).item(), rel=1e-5)
    assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == batch.labels).double().mean().item())
