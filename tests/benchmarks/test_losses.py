"""Cost of one step of each method, relative to KD's, measured in the same run.

Same pair (resnet20 > resnet8, CIFAR variants), batch 64, 32 px, fp32, one thread; every method beside cross-entropy, as
suites use it. Runs of a method and of KD alternate; the ratio of CPU seconds is the median over pairs. The first stage
of two-stage methods comes on top and is not part of it.
"""

from __future__ import annotations

import pytest

import benchbench.losses

TEACHER, STUDENT, PAIRS = "cifar/resnet20", "cifar/resnet8", 5
# `ce` is part of every run; a convolutional student has no distillation token, and its images no masks and no boxes.
UNMET = {"token", "pixels", "boxes"}
METHODS = [c.name for c in benchbench.losses.benchbench_losses() if c.name != "ce" and not UNMET & c.needs]


@pytest.mark.parametrize("method", METHODS)
def test_step_relative_to_kd(benchmark, our_epoch, ratios, report, method):
    ours = our_epoch(TEACHER, STUDENT, [("ce", {}), (method, {})])
    kd = our_epoch(TEACHER, STUDENT, [("ce", {}), ("kd", {})])
    report("a step, of KD's", method, ratios(ours, kd, PAIRS))
    benchmark.pedantic(ours, rounds=1)
