"""A cell's peak memory against what its models, optimiser, data and activations take; see `cell_memory.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = {
    "naive": "a plain loop on a fixed batch",
    "plain": "a cell, exact",
    "folded": "a cell, fp32 with a folded teacher",
}
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux measures the peak of a part of a run"
)
@pytest.mark.parametrize("way", KINDS)
@pytest.mark.parametrize(
    "pair", ["timm/resnet50 torchvision/mobilenet_v2", "cifar/resnet20 cifar/resnet8"], ids=["P1", "P4"]
)
def test_peak(benchmark, report, pair, way):
    measurements: list[dict[str, int]] = []

    def run() -> None:
        command = [sys.executable, "-m", "tests.benchmarks.cell_memory", *pair.split(), way]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        measurements.append(json.loads(answer.stdout.splitlines()[-1]))

    benchmark.pedantic(run, rounds=3)
    parts = {name: value / 2**20 for name, value in measurements[0].items()}
    print("\n" + ", ".join(f"{name} {value:.0f} MiB" for name, value in parts.items()))
    shares = [each["peak"] / sum(value for name, value in each.items() if name != "peak") for each in measurements]
    name = f"peak memory, {KINDS[way]}, of models + optimiser + data + activations"
    report(name, pair.replace(" ", " > "), shares, None if way == "naive" else 1.2, at_most=True)
