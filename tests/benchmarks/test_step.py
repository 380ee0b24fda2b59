"""A distillation step as the training loop does it, against limits measured in the same run."""

from __future__ import annotations

import pytest
import torch

from benchbench.execution.network import ConfiguredModel
from benchbench.execution.tune import TuningConstraints, tune

SIZE, BATCH = 32, 64
P1, P3, P4 = (
    "timm/resnet50 torchvision/mobilenet_v2",
    "cifar/resnet56 cifar/resnet20",
    "cifar/resnet20 cifar/resnet8",
)
# Options of each way, and the share of the naive limit that it should reach on P1, P3 and P4.
WAYS = {
    "exact, fresh augmentation": ({}, (None, None, None)),
    "fp32, fresh augmentation": ({"exact": False}, (1.35, 1.10, 1.10)),
    "fp32, cached teacher outputs over 4 views": ({"exact": False, "cached": True}, (2.8, 2.0, 2.0)),
    "exact, cohort of 4": ({"count": 4}, (1.6, 1.5, 1.5)),
    "fp32, cohort of 2": ({"exact": False, "count": 2}, (None, None, None)),
    "fp32, cohort of 4": ({"exact": False, "count": 4}, (1.6, 1.5, 1.5)),
    "fp32, cohort of 8": ({"exact": False, "count": 8}, (None, None, None)),
}


@pytest.mark.parametrize("pair", [P1, P3, P4])
@pytest.mark.parametrize("way", WAYS)
def test_of_the_naive_limit(benchmark, our_epoch, naive_epoch, ratios, report, pair, way):
    teacher, student = pair.split()
    options, targets = WAYS[way]
    count = options.get("count", 1)
    ours = our_epoch(teacher, student, **options)
    naive = naive_epoch(student, teacher)
    shares = [count * ratio for ratio in ratios(naive, ours, 3 if count > 2 else 5)]
    report(f"{way}, of the naive limit", pair.replace(" ", " > "), shares, targets[[P1, P3, P4].index(pair)])
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.parametrize("pair", [P1, P3, P4])
def test_student_alone(benchmark, naive_epoch, ratios, report, pair):
    """The limit where teachers cost nothing."""
    teacher, student = pair.split()
    alone = naive_epoch(student)
    shares = ratios(naive_epoch(student, teacher), alone)
    report("student alone, of the naive limit", pair.replace(" ", " > "), shares)
    benchmark.pedantic(alone, rounds=1)


def test_overhead_of_the_loop(benchmark, our_epoch, ratios, report):
    """A step of ours without its model, loss, optimiser and data: those of the same objects in a bare loop."""
    ours = our_epoch(*P4.split())
    (member,), inputs = ours.members, ours.inputs
    member.begin()

    def bare() -> None:
        member.model.train()
        for batch in inputs.train.train_batches(0, 0, BATCH, 0):
            with torch.no_grad():
                teacher_outputs = [teacher(batch, False) for teacher in inputs.teachers]
            total, _ = member.losses(member.network(batch.images), teacher_outputs, batch)
            member.optimizer.zero_grad(set_to_none=True)
            total.backward()
            member.optimizer.step()

    shares = [1 - ratio for ratio in ratios(bare, ours, 15)]
    report("overhead, share of a step", P4.replace(" ", " > "), shares, 0.03, at_most=True)
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.skipif(torch.cpu._is_avx512_bf16_supported(), reason="this processor computes in bf16")
@pytest.mark.parametrize("pair", [P1, P3, P4])
def test_auto_leaves_emulated_bf16_alone(benchmark, backbone, report, pair):
    """Emulated bf16 is given up by `auto` after two images; the ratio is its cost there."""
    teacher = backbone(pair.split()[0]).freeze()
    torch.set_num_threads(1)
    config, seconds = tune(
        teacher, torch.rand(BATCH, 3, SIZE, SIZE), TuningConstraints(False, None, None, None, False, 0, 1)
    )
    assert config.precision == "fp32"
    report("bf16 teacher, of fp32 (two images)", pair.split()[0], [1 / seconds["bf16, of fp32, on two images"]])
    benchmark.pedantic(
        lambda: ConfiguredModel(teacher, config, torch.device("cpu"))(torch.rand(BATCH, 3, SIZE, SIZE)), rounds=1
    )
