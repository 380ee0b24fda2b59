"""Training on a GPU against the fixed-batch limit of the same card: images per second, and how busy the card is.

The limit takes the steps of the same networks, run in the same way, on one batch that lies on the card, without data,
checks or a ledger. `BENCHBENCH_GPU=cpu` runs a small form of it without a GPU, to see that it works.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.transforms import Transform
from benchbench.execution.network import ConfiguredModel, ExecutionConfig, frozen_network
from benchbench.execution.tune import TuningConstraints, tune
from benchbench.models.backbone import Backbone
from benchbench.training.cohort import SharedInputs
from benchbench.training.optimizers import make_optimizer
from benchbench.training.teachers import LiveTeacher
from tests.benchmarks.epochs import AUGMENTERS, KD, kd_term, loss_specs, make_member, run_epochs
from tests.specs import recipe_spec

NAME = os.environ.get("BENCHBENCH_GPU", "cuda")
DEVICE = torch.device(NAME)
IMAGES, PAIRS = (50_000, 5) if DEVICE.type == "cuda" else (256, 1)
CASES = {
    "cifar/resnet18 from scratch": (None, "cifar/resnet18", 32, 512),
    "timm/resnet50 > torchvision/mobilenet_v2": ("timm/resnet50", "torchvision/mobilenet_v2", 64, 256),
}
if DEVICE.type != "cuda":
    CASES = {name: (teacher, student, size, 32) for name, (teacher, student, size, _) in CASES.items()}

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="it measures a GPU, and there is none"
)


def fastest(model: Backbone, images: Tensor, trained: bool) -> ExecutionConfig:
    """The execution that a tuning stage chooses for a long run under `precision: auto`."""
    compiling = None if DEVICE.type == "cuda" else False  # it takes minutes on a CPU
    return tune(
        model, images, TuningConstraints(trained, None, None, None, compiling, 100_000, torch.get_num_threads())
    )[0]


class Case:
    """One pair of networks, tuned; one epoch of it as the training loop runs it, and as many steps on a fixed batch."""

    def __init__(
        self, build: Callable[[str], Backbone], folder, teacher: str | None, student: str, size: int, batch: int
    ):
        self.batch, self.steps = batch, IMAGES // batch
        random = np.random.default_rng(0)
        array = random.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
        images = ImageDataset(random.integers(0, 10, IMAGES), tuple("0123456789"), lambda _: None, array)
        transform = Transform(size, None, AUGMENTERS)
        self.loader = InMemoryLoader(ImageSubset(images, np.arange(IMAGES)), transform, DEVICE)
        self.fixed = torch.rand(batch, 3, size, size, device=DEVICE)
        self.labels = torch.randint(10, (batch,), device=DEVICE)
        self.student = build(student).to(DEVICE)
        self.execution = fastest(self.student, self.fixed, True)
        self.teacher: ConfiguredModel | None = None
        if teacher:
            frozen = build(teacher).freeze().to(DEVICE)
            self.teacher, _ = frozen_network(frozen, fastest(frozen, self.fixed, False), self.fixed, 1.0)
        losses = loss_specs(KD if teacher else [("ce", {})])
        recipe = recipe_spec(batch_size=batch, image_size=size, lr=1e-6)
        teachers = [self.teacher.model] if self.teacher else []
        forwards = [LiveTeacher(self.teacher)] if self.teacher else []
        self.inputs = SharedInputs(self.loader, None, forwards, batch, 0, DEVICE)
        self.member = make_member(
            self.student, teachers, losses, self.inputs, recipe, folder=folder, execution=self.execution
        )
        self.optimizer = make_optimizer(self.student, self.member.losses, recipe)

    def epoch(self) -> None:
        self.member.curve = []
        run_epochs([self.member], self.inputs)

    def limit(self) -> None:
        network = self.member.network
        self.student.train()
        for _ in range(self.steps):
            logits = network(self.fixed).logits.float()
            loss = F.cross_entropy(logits, self.labels)
            if self.teacher is not None:
                with torch.no_grad():
                    teacher_logits = self.teacher(self.fixed).logits.float()
                loss = loss + kd_term(logits, teacher_logits)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()


def seconds(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def busy_share(run: Callable[[], None]) -> float | None:
    """Mean share of time in which a kernel was running, as the driver samples it; None without samples."""
    over, samples = threading.Event(), []

    def sample() -> None:
        while not over.wait(0.1):
            samples.append(torch.cuda.utilization())

    try:
        torch.cuda.utilization()
    except Exception:  # no GPU, or no library for its driver
        return None
    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        run()
        torch.cuda.synchronize()
    finally:
        over.set()
        watcher.join()
    return statistics.mean(samples) / 100 if samples else None


@pytest.mark.parametrize("name", CASES)
def test_of_the_fixed_batch_limit(benchmark, backbone, report, tmp_path, name):
    case = Case(backbone, tmp_path, *CASES[name])
    for run in (case.epoch, case.limit):
        run()  # kernels are chosen, memory is taken
    pairs = [(seconds(case.epoch), seconds(case.limit)) for _ in range(PAIRS)]
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else NAME
    images = case.steps * case.batch
    speed = images / statistics.median(ours for ours, _ in pairs)
    print(f"\n{name} on {where}: {speed:,.0f} images a second; student {case.execution}")
    report(f"an epoch on {where}, of the fixed-batch limit", name, [limit / ours for ours, limit in pairs], 0.95)
    report(f"images a second on {where}", name, [images / ours for ours, _ in pairs])
    if (busy := busy_share(case.epoch)) is not None:
        report(f"share of time in which {where} was busy", name, [busy])
    benchmark.pedantic(case.epoch, rounds=1)
