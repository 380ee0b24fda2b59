"""What one step of each method costs, relative to KD's, measured in the same run.

Same pair (resnet20 > resnet8, CIFAR variants), batch 64, 32 px, fp32, one thread; every method beside cross-entropy, as
suites use it. Runs of a method and of KD alternate; the ratio of CPU seconds is the median over pairs. The first stage
of two-stage methods comes on top and is not part of it.
"""

from __future__ import annotations

import statistics

import pytest
import torch

import benchbench.losses

TEACHER, STUDENT, PAIRS = "cifar/resnet20", "cifar/resnet8", 5
# `ce` is part of every run, and a convolutional student has no distillation token.
METHODS = [c.name for c in benchbench.losses.benchbench_losses() if c.name != "ce" and "token" not in c.needs]


@pytest.mark.parametrize("method", METHODS)
def test_step_relative_to_kd(benchmark, our_epoch, seconds, method):
    torch.set_num_threads(1)
    ours, kd = (
        our_epoch(TEACHER, STUDENT, [("ce", {}), (method, {})]),
        our_epoch(TEACHER, STUDENT, [("ce", {}), ("kd", {})]),
    )
    ours(), kd()
    ratios = sorted(seconds(ours) / seconds(kd) for _ in range(PAIRS))
    benchmark.extra_info["of KD's step"] = statistics.median(ratios)
    print(f"\n{method}: {statistics.median(ratios):.2f} of KD's step ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    benchmark.pedantic(ours, rounds=1)
