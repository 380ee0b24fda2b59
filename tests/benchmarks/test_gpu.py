"""Training on a GPU: images per second, of the fixed-batch limit of the same card, and of steps without CUDA graphs.

The limit takes the steps of the same networks in bf16 and channels_last, kernel by kernel, on one batch that lies on
the card: without data, checks or a ledger. `BENCHBENCH_GPU=cpu` runs a small form of all this without a GPU, to see
that it works.
"""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from benchbench.augmenters.geometric import flip, random_resized_crop
from benchbench.data.decoded import decoded_once
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.jpeg import decoder_problem
from benchbench.data.loader import Loader, make_loader
from benchbench.data.prefetch import prefetch
from benchbench.data.sources.common import FileImages
from benchbench.data.transforms import Transform
from benchbench.execution.graph_pool import GraphPool
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.specs.records import Progress
from benchbench.stages.decoding import kept_pixels
from benchbench.training.cohort import SharedInputs
from benchbench.training.member import Member
from benchbench.training.optimizers import make_optimizer
from benchbench.training.teachers import LiveTeacher
from tests.benchmarks.epochs import AUGMENTERS, KD, build, kd_term, loss_specs, make_member, run_epochs
from tests.specs import recipe_spec

NAME = os.environ.get("BENCHBENCH_GPU", "cuda")
DEVICE = torch.device(NAME)
ON_GPU = DEVICE.type == "cuda"
PAIRS = 3 if ON_GPU else 1
EXECUTION = ExecutionConfig("bf16", channels_last=True) if ON_GPU else ExecutionConfig()

CLASSES = tuple("0123456789")

pytestmark = pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="it measures a GPU, and there is none")


@dataclass(frozen=True)
class Networks:
    """A student, its teacher where it has one, and the size of its batches."""

    student: str
    teacher: str | None
    size: int
    batch: int
    students: int = 1

    @property
    def name(self) -> str:
        teacher = f"{self.teacher} > " if self.teacher else ""
        several = f", {self.students} side by side" if self.students > 1 else ""
        return f"{teacher}{self.student}, {self.size} px, batch {self.batch}{several}"


CASES = [
    Networks("cifar/resnet18", None, 32, 512),
    Networks("torchvision/mobilenet_v2", "timm/resnet50", 32, 256),
    Networks("timm/resnet18", "timm/resnet50", 224, 128),
    Networks("cifar/resnet20", None, 32, 128),
    Networks("cifar/resnet20", None, 32, 128, students=4),
]
if not ON_GPU:
    CASES = [replace(case, size=32, batch=8) for case in CASES]


class Training:
    """Epochs of a case as the training loop runs them, and as many steps on a fixed batch."""

    def __init__(self, case: Networks, folder, graphs: bool, loader: Loader | None = None):
        self.case, self.folder, self.steps = case, folder, 80 if ON_GPU else 5
        self.pool = GraphPool(DEVICE) if graphs and ON_GPU else None
        loader = self._in_memory() if loader is None else loader
        self.steps = loader.steps(case.batch)
        self.teacher = None
        if case.teacher:
            self.teacher = ConfiguredModel(build(case.teacher).to(DEVICE).freeze(), EXECUTION, DEVICE)
        teachers = [LiveTeacher(self.teacher, self.pool is not None)] if self.teacher else []
        self.inputs = SharedInputs(loader, None, teachers, case.batch, 0, DEVICE)
        self.recipe = recipe_spec(batch_size=case.batch, image_size=case.size, epochs=1 + PAIRS, lr=1e-6)

    def _in_memory(self) -> InMemoryLoader:
        count, random = self.steps * self.case.batch, np.random.default_rng(0)
        array = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        images = ImageDataset(random.integers(0, 10, count), CLASSES, lambda _: None, array)
        transform = Transform(self.case.size, None, AUGMENTERS)
        return InMemoryLoader(ImageSubset(images, np.arange(count)), transform, DEVICE)

    def member(self, seed: int) -> Member:
        losses, teachers = loss_specs(KD if self.teacher else [("ce", {})]), []
        if self.teacher:
            teachers = [self.teacher.model]
        student = build(self.case.student).to(DEVICE)
        settings = {"folder": self.folder, "execution": EXECUTION, "seed": seed}
        return replace(
            make_member(student, teachers, losses, self.inputs, self.recipe, **settings), graph_pool=self.pool
        )

    def epochs(self) -> list[float]:
        """Seconds of every epoch but the first, which chooses kernels, takes memory and captures graphs."""
        members = [self.member(seed) for seed in range(self.case.students)]
        ends: dict[int, float] = {}

        def report(progress: Progress) -> None:
            if progress.done % self.steps == 0:
                ends[progress.done] = now()

        members[-1].report = report
        run_epochs(members, self.inputs)
        return [end - begun for begun, end in itertools.pairwise(ends.values())]

    def limit(self) -> float:
        """Seconds of an epoch's steps on one batch, kernel by kernel."""
        member = self.member(0)
        optimizer = make_optimizer(member.model, member.losses, self.recipe)
        images = torch.rand(self.case.batch, 3, self.case.size, self.case.size, device=DEVICE)
        labels = torch.randint(10, (self.case.batch,), device=DEVICE)
        member.model.train()

        def step() -> None:
            logits = member.network(images).logits.float()
            loss = F.cross_entropy(logits, labels)
            if self.teacher is not None:
                with torch.no_grad():
                    teacher_logits = self.teacher(images).logits.float()
                loss = loss + kd_term(logits, teacher_logits)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        for _ in range(5):
            step()
        begun = now()
        for _ in range(self.steps):
            step()
        return now() - begun


def now() -> float:
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def busy_share(run: Callable[[], object]) -> float | None:
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
    finally:
        over.set()
        watcher.join()
    return statistics.mean(samples) / 100 if samples else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_images_per_second(benchmark, report, tmp_path, case):
    where = torch.cuda.get_device_name() if ON_GPU else NAME
    graphs, plain = (Training(case, tmp_path, graphs=each) for each in (True, False))
    ours = benchmark.pedantic(graphs.epochs, rounds=1)
    kernel_by_kernel, limits = plain.epochs(), [plain.limit() for _ in range(PAIRS)]
    images = graphs.steps * case.batch * case.students
    report(f"images a second on {where}", case.name, [images / seconds for seconds in ours])
    report("speed, of steps without CUDA graphs", case.name, ratios(kernel_by_kernel, ours))
    limits = [case.students * seconds for seconds in limits]
    report("speed, of the fixed-batch limit without CUDA graphs", case.name, ratios(limits, ours), 0.95)
    if ON_GPU:
        report("largest memory, GB", case.name, [torch.cuda.max_memory_allocated() / 2**30])
    if (busy := busy_share(graphs.epochs)) is not None:
        report(f"share of time in which {where} was busy", case.name, [busy])


PHOTOGRAPHS = Networks("timm/resnet18", None, 224, 128) if ON_GPU else Networks("cifar/resnet8", None, 32, 8)
CROPS = [
    partial(random_resized_crop, min_scale=0.08, max_scale=1, min_ratio=3 / 4, max_ratio=4 / 3),
    partial(flip, probability=0.5),
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> ImageDataset:
    """JPEG files of 500 x 375 pixels and about 60 kB."""
    folder, count = tmp_path_factory.mktemp("photographs"), 12 * PHOTOGRAPHS.batch
    few = np.random.default_rng(0).integers(0, 256, (count, 40, 60, 3), dtype=np.uint8)
    files = [str(folder / f"{number}.jpg") for number in range(count)]
    for file, pixels in zip(files, few, strict=True):
        Image.fromarray(pixels).resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=92)
    return ImageDataset(np.arange(count) % 10, CLASSES, FileImages(tuple(files)))


@pytest.mark.parametrize("decode", ["cpu", "gpu"])
def test_images_per_second_from_files(benchmark, report, tmp_path, photographs, decode):
    """With `decode: gpu` an epoch should take at most a quarter longer than its steps: a fifth of it waits for data."""
    transform = Transform(PHOTOGRAPHS.size, 256, CROPS, on_device=decode == "gpu")
    images = decoded_once(photographs, tmp_path / "pixels", *kept_pixels(transform, DEVICE))
    subset, workers = ImageSubset(images, np.arange(len(images))), min(8, len(os.sched_getaffinity(0)))
    loader = make_loader(subset, transform, DEVICE, workers)
    decoder = "Pillow" if decode == "cpu" or decoder_problem(DEVICE) else "nvJPEG"
    name = f"{PHOTOGRAPHS.name}, decode: {decode} ({decoder})"

    def epoch(number: int) -> float:
        begun = now()
        for _ in prefetch(loader.train_batches(0, number, PHOTOGRAPHS.batch, 0), DEVICE):
            pass
        return now() - begun

    epoch(0)  # pixels that are kept are decoded here
    report("images a second of a loader of files", name, [len(images) / epoch(1 + each) for each in range(PAIRS)])
    training = Training(PHOTOGRAPHS, tmp_path, True, loader)
    ours = benchmark.pedantic(training.epochs, rounds=1)
    report("images a second, trained from files", name, [len(images) / seconds for seconds in ours])
    memory = Training(PHOTOGRAPHS, tmp_path, True)
    steps = [seconds * training.steps / memory.steps for seconds in memory.epochs()]
    report("speed, of training from memory", name, ratios(steps, ours), 0.8)


def ratios(theirs: list[float], ours: list[float]) -> list[float]:
    return [one / other for one, other in zip(theirs, ours, strict=True)]
