"""A distillation step as the training loop does it, against the naive limit measured in the same run.

The naive limit is the teacher's forward pass and the student's step on one fixed batch in memory, eager, fp32, NCHW,
with no data to prepare. One thread; runs alternate, and the ratio is the median over pairs.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.data.feeds import Pipeline, ResidentFeed
from benchbench.data.sources.bundled import load
from benchbench.losses.base import LossContext
from benchbench.losses.teachers import Lessons
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plugins import load_plugins
from benchbench.store import StageFolder
from benchbench.suite import Recipe
from benchbench.training.checkpoint import Checkpoints
from benchbench.training.loop import Training

SIZE, BATCH, STEPS, PAIRS = 32, 64, 5, 5
DEVICE = torch.device("cpu")


def backbone(name: str, channels_last: bool = False) -> Backbone:
    job = {"source": "timm", "name": name, "params": {}, "weights": None, "mean": None, "std": None, "input_size": None}
    model = build_backbone(job, "student", load_plugins().registry, 10)
    return model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def our_epoch(teacher_name: str, student_name: str, channels_last: bool, folder: Path):
    images = load(None, Path(), "train")
    pipeline = Pipeline(
        SIZE,
        None,
        [
            lambda x, size, random: flip(x, size, random, probability=0.5),
            lambda x, size, random: random_crop(x, size, random, padding=4, resize=None),
        ],
    )
    feed = ResidentFeed(images, np.arange(STEPS * BATCH), pipeline, DEVICE)
    student, teacher = backbone(student_name, channels_last), backbone(teacher_name, channels_last).freeze()
    context = LossContext(10, student.dim, teacher.dim, student.head, teacher.head, feed.labels, 1, DEVICE)
    entries = [
        {"name": "ce", "params": {}, "weight": 1.0},
        {"name": "kd", "params": {"temperature": 4.0}, "weight": 1.0},
    ]
    recipe = Recipe(epochs=1, batch_size=BATCH, image_size=SIZE, channels_last=channels_last).model_dump()

    def run() -> None:
        Training(
            model=student,
            teachers=[teacher],
            losses=Lessons(entries, load_plugins().registry, [context], [1.0]),
            train=feed,
            validation=None,
            recipe=recipe,
            seed=0,
            best=False,
            device=DEVICE,
            checkpoints=Checkpoints(StageFolder(folder), interval=1e9),
            report=lambda progress: None,
        ).run(None)

    return run


def naive_epoch(teacher_name: str, student_name: str):
    student, teacher = backbone(student_name), backbone(teacher_name).freeze()
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


def seconds(run) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


@pytest.mark.parametrize("pair", ["resnet50 resnet18", "tf_efficientnet_lite2 tf_efficientnet_lite0"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
def test_step_against_the_naive_limit(benchmark, pair, channels_last, tmp_path):
    torch.set_num_threads(1)
    ours, naive = our_epoch(*pair.split(), channels_last, tmp_path), naive_epoch(*pair.split())
    ours(), naive()
    ratios = sorted(seconds(naive) / seconds(ours) for _ in range(PAIRS))
    benchmark.extra_info["of the naive limit"] = statistics.median(ratios)
    print(f"\n{pair}: {statistics.median(ratios):.2f} of the naive limit ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    benchmark.pedantic(ours, rounds=2)
