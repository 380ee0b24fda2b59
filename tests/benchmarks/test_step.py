"""A distillation step as the training loop does it, against the naive limit measured in the same run.

The naive limit is the teacher's forward pass and the student's step on one fixed batch in memory, eager, fp32, NCHW,
with no data to prepare. One thread; runs alternate, and the ratio is the median over pairs.
"""

from __future__ import annotations

import statistics

import pytest
import torch
from torch.nn import functional as F

SIZE, BATCH, STEPS, PAIRS = 32, 64, 5, 5


def naive_epoch(teacher, student):
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(10, (BATCH,))
    optimizer = torch.optim.AdamW(student.parameters())

    def run() -> None:
        student.train()
        for _ in range(STEPS):
            with torch.no_grad():
                taught = teacher(images).logits
            logits = student(images).logits
            soft = F.kl_div(
                (logits / 4).log_softmax(1), (taught / 4).log_softmax(1), reduction="batchmean", log_target=True
            )
            loss = F.cross_entropy(logits, labels) + 16 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


@pytest.mark.parametrize(
    "pair", ["timm/resnet50 timm/resnet18", "timm/tf_efficientnet_lite2 timm/tf_efficientnet_lite0"]
)
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_step_against_the_naive_limit(benchmark, our_epoch, backbone, seconds, pair, channels_last):
    torch.set_num_threads(1)
    teacher, student = pair.split()
    ours = our_epoch(teacher, student, [("ce", {}), ("kd", {"temperature": 4.0})], channels_last)
    naive = naive_epoch(backbone(teacher).freeze(), backbone(student))
    ours(), naive()
    ratios = sorted(seconds(naive) / seconds(ours) for _ in range(PAIRS))
    benchmark.extra_info["of the naive limit"] = statistics.median(ratios)
    print(f"\n{pair}: {statistics.median(ratios):.2f} of the naive limit ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    benchmark.pedantic(ours, rounds=2)
