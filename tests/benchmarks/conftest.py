"""The training loop on a few batches of the bundled images, as benchmarks run it; and the table of what was measured.

`pytest tests/benchmarks --performance reports/performance.md` prints the table and writes it.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tabulate import tabulate
from torch.nn import functional as F

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.data.images import ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.sources.bundled import load
from benchbench.data.transforms import Transform
from benchbench.execution.network import ExecutionConfig, frozen_network
from benchbench.execution.tune import TuningConstraints, tune
from benchbench.hardware.devices import find_devices
from benchbench.losses.multi_teacher import add_student_heads, build_losses
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec
from benchbench.store import StageFolder
from benchbench.suite.schema import Recipe
from benchbench.training.cached_outputs import CachedTeacher
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import run_together
from benchbench.training.loop import Training

SIZE, BATCH, STEPS, PAIRS, VIEWS = 32, 64, 3, 5, 4
DEVICE = torch.device("cpu")
KD = [("ce", {}), ("kd", {"temperature": 4.0})]
ROWS, LOAD = pytest.StashKey[list](), pytest.StashKey[float]()


@dataclass(frozen=True)
class Row:
    """One ratio: what was measured on which case, its median and range over pairs of runs, and what it should reach."""

    what: str
    case: str
    ratios: Sequence[float]
    target: float | None
    at_most: bool

    def cells(self) -> list[str]:
        middle = statistics.median(self.ratios)
        target = "" if self.target is None else f"{'<=' if self.at_most else '>='} {self.target:g}"
        met = self.target is not None and (middle <= self.target if self.at_most else middle >= self.target)
        verdict = "" if self.target is None else "reached" if met else "missed"
        spread = f"{min(self.ratios):.3g} to {max(self.ratios):.3g}"
        return [self.what, self.case, f"{middle:.3g}", spread, str(len(self.ratios)), target, verdict]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--performance", metavar="FILE", help="write the table of ratios to this Markdown file")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS], config.stash[LOAD] = [], os.getloadavg()[0]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = [row.cells() for row in config.stash[ROWS]]
    if not rows:
        return
    headers = ["what", "case", "median", "range", "pairs", "target", ""]
    terminalreporter.write_line("")
    terminalreporter.write_line(tabulate(rows, headers, disable_numparse=True))
    if file := config.getoption("--performance"):
        table = tabulate(rows, headers, "github", disable_numparse=True)
        Path(file).write_text(f"{HEADING}\n{_machine(config.stash[LOAD])}\n\n{table}\n", encoding="utf-8")


HEADING = """# Performance

Made by `pytest tests/benchmarks --performance reports/performance.md`. Ratios of processor time on one thread; the two
sides of a pair of runs take turns, and the median and range are over pairs. *Of the naive limit*: the time of the
teacher's forward pass and the student's step on one fixed batch in memory (eager, fp32, NCHW, AdamW as it comes),
divided by ours by student, with fresh augmentation where nothing else is said; batch 64, 32 px, KD. What is done once
(tuning, filling the views) is not part of a step. Start-up is in seconds of processor time, children included.
"""


def _machine(load: float) -> str:
    name, bf16 = find_devices("cpu").name, torch.cpu._is_avx512_bf16_supported()
    bf16_or_not = f"{'with' if bf16 else 'without'} bf16 instructions"
    loads = f"load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end (this run alone makes 1)"
    return f"On {name}, {os.cpu_count()} cores, {bf16_or_not}; torch {torch.__version__}; {loads}."


@pytest.fixture
def report(request, benchmark) -> Callable[..., None]:
    """Keeps the ratios of a benchmark for the table: `report(what, case, ratios, target)`."""

    def keep(what: str, case: str, ratios: Sequence[float], target: float | None = None, at_most: bool = False) -> None:
        row = Row(what, case, ratios, target, at_most)
        request.config.stash[ROWS].append(row)
        benchmark.extra_info[what] = statistics.median(ratios)
        print("\n" + "  ".join(row.cells()))

    return keep


def build(model: str) -> Backbone:
    """A network of ten classes by `SOURCE/NAME`, with random weights."""
    source, _, name = model.partition("/")
    return build_backbone(ModelSpec(source=source, name=name), "student", load_plugins().registry, 10)


@pytest.fixture
def backbone() -> Callable[[str], Backbone]:
    return build


@functools.cache
def tuned(model: str, trained: bool) -> ExecutionConfig:
    """The fastest way in float32, as a tuning stage finds it."""
    network, images = build(model), torch.rand(BATCH, 3, SIZE, SIZE)
    return tune(
        network if trained else network.freeze(), images, TuningConstraints(trained, "fp32", None, None, False, 0, 1)
    )[0]


def plain(model: str, trained: bool) -> ExecutionConfig:
    """As a plain loop runs it."""
    return ExecutionConfig()


class Epoch:
    """Trains students for one epoch of `STEPS` steps, side by side where there are several.

    Args:
        folder: for checkpoints, of which none is written.
        teacher_name, student_name: `SOURCE/NAME`.
        losses: names and parameters.
        way: how a network is run: `tuned` or `plain`.
        kept: whether the teacher's outputs are kept, over `VIEWS` views.
        members: students.
    """

    def __init__(
        self,
        folder: Path,
        teacher_name: str,
        student_name: str,
        losses: Sequence[tuple[str, Any]] = KD,
        way: Callable[[str, bool], ExecutionConfig] = plain,
        kept: bool = False,
        members: int = 1,
    ):
        registry = load_plugins().registry
        entries = [
            {"name": name, "params": registry.get("loss", name).params(**params).model_dump(), "weight": 1e-3}
            for name, params in losses
        ]
        augmenters = [
            lambda x, size, random: flip(x, size, random, probability=0.5),
            lambda x, size, random: random_crop(x, size, random, padding=4, resize=None),
        ]
        pipeline = Transform(SIZE, None, augmenters, views=VIEWS if kept else None)
        loader = InMemoryLoader(ImageSubset(load(None, Path(), "train"), np.arange(STEPS * BATCH)), pipeline, DEVICE)
        needs = {need for name, _ in losses for need in registry.get("loss", name).needs}
        teachers = [build(teacher_name).freeze()] if needs & {"teacher", "teacher.logits"} else []
        recipe = Recipe(epochs=1, batch_size=BATCH, image_size=SIZE).model_dump()
        student_way = way(student_name, True)
        networks = []
        for teacher in teachers:
            sample = next(loader.test_batches(16)).images
            networks.append(
                frozen_network(teacher, way(teacher_name, False), sample, 0.0, features="features" in needs)[0]
            )
        teachers = [network.model for network in networks]
        teach = [lambda batch, maps, run=run: run(batch.images, maps) for run in networks]
        if kept:
            said = [[networks[0](batch.images) for batch in batches] for batches in loader.view_batches(BATCH, 0)]
            logits, embedding = (
                torch.stack([torch.cat([getattr(part[view], name) for part in said]) for view in range(VIEWS)]).detach()
                for name in ("logits", "embedding")
            )
            teach = [CachedTeacher(logits, embedding)]
        self.trainings: list[Training] = []
        for number in range(members):
            student = build(student_name)
            add_student_heads(student, entries, registry, [teacher.dim for teacher in teachers])
            losses = build_losses(entries, registry, student, teachers, [1.0], recipe, loader.labels, DEVICE)
            # The steady state is measured: a two-stage method's first stage comes on top of it.
            losses.preparation = 0.0
            self.trainings.append(
                Training(
                    model=student,
                    teachers=teachers,
                    losses=losses,
                    train=loader,
                    validation=None,
                    recipe=recipe,
                    seed=number,
                    best=False,
                    device=DEVICE,
                    checkpoints=Checkpoints(StageFolder(folder), interval=1e9),
                    report=lambda progress: None,
                    data_seed=0,
                    execution=student_way,
                    teach=teach,
                )
            )

    def __call__(self) -> None:
        failed = run_together(self.trainings, [None] * len(self.trainings), Clock(DEVICE))
        assert not failed, failed


@pytest.fixture
def our_epoch(tmp_path) -> Callable[..., Epoch]:
    """`Epoch` in a folder of the test's; `exact` runs networks as a plain loop does, else they are tuned."""

    def make(*args: Any, exact: bool = True, **options: Any) -> Epoch:
        return Epoch(tmp_path, *args, way=plain if exact else tuned, **options)

    return make


def naive(student_name: str, teacher_name: str | None = None) -> Callable[[], None]:
    """`STEPS` steps of a plain loop on one fixed batch in memory, with or without a teacher."""
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(10, (BATCH,))
    student, teacher = build(student_name).train(), build(teacher_name).freeze() if teacher_name else None
    optimizer = torch.optim.AdamW(student.parameters())

    def run() -> None:
        for _ in range(STEPS):
            logits = student(images).logits
            loss = F.cross_entropy(logits, labels)
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(images).logits
                soft, target = (logits / 4).log_softmax(1), (taught / 4).log_softmax(1)
                loss = loss + 16 * F.kl_div(soft, target, reduction="batchmean", log_target=True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


@pytest.fixture
def naive_epoch() -> Callable[..., Callable[[], None]]:
    return naive


@pytest.fixture
def ratios() -> Callable[..., list[float]]:
    """Processor time of one function over another's, in pairs that take turns, sorted."""

    def measure(one: Callable[[], None], other: Callable[[], None], pairs: int = PAIRS) -> list[float]:
        torch.set_num_threads(1)
        one(), other()
        return sorted(_seconds(one) / _seconds(other) for _ in range(pairs))

    return measure


def _seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started
