"""Does a busy machine change the estimated price of a pre-training?

`pytest tests/benchmarks/test_prices.py -s` calibrates one network alone and beside two loops that never rest, in turns,
and prints the ratio of the two prices: by the figure that prices it, and by the wall clock's median.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec
from benchbench.specs.records import CalibrationMetrics
from benchbench.stages import calibrate
from tests.specs import calibration_spec
from tests.stages.contexts import stage_context

PAIRS, LOOPS = 3, 2
NETWORK = ModelSpec(source="timm", name="tf_efficientnet_lite0")


@contextmanager
def busy() -> Iterator[None]:
    """Loops that take all of a core each, as far as they get one."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.mark.parametrize("threads", [1, 2])
def test_prices_alone_and_beside_busy_loops(tmp_path: Path, threads: int):
    registry, before = load_plugins().registry, torch.get_num_threads()

    def metrics(name: str) -> CalibrationMetrics:
        spec = calibration_spec(model=NETWORK, image_size=224, precision="fp32", threads=threads)
        return calibrate.run(stage_context(spec, tmp_path / name, registry, threads=threads)).record.metrics

    priced, walls = [], []
    for pair in range(PAIRS):
        quiet = metrics(f"quiet{pair}")
        with busy():
            loaded = metrics(f"busy{pair}")
        priced.append(quiet.images_per_second / loaded.images_per_second)
        walls.append(quiet.wall_images_per_second / loaded.wall_images_per_second)
    torch.set_num_threads(before)
    for name, ratios in (("price", priced), ("wall clock", walls)):
        spread = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"\n{threads} threads, {name}: busy / quiet = {statistics.median(ratios):.2f} ({spread})", end="")
