"""Generating images: the stage beside the bare pipeline in one run, images a second, and the peak of memory.

`pytest tests/benchmarks/test_synthesis.py -s` prints them. The model is a small one in pixels with random weights: what
a step costs does not depend on what it has learned.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from benchbench.hardware.memory import PeakMemory
from benchbench.plugins import load_plugins
from benchbench.stages import synthesis
from benchbench.stages.context import StageContext
from benchbench.stages.diffusion import unet_of
from benchbench.store import StageFolder
from benchbench.synthesis import PixelDiffusionParams, TrainedDiffusionParams
from benchbench.synthesis.base import GenerationRequest, Setting
from benchbench.synthesis.pixels import PixelDiffusion

CLASSES, PER_CLASS, BATCH, STEPS, ROUNDS = 10, 8, 16, 10, 5


@pytest.fixture
def context(tmp_path):
    """A stage of some images by a small model that lies in a folder."""
    how = TrainedDiffusionParams().model_dump()
    torch.manual_seed(0)
    DDPMPipeline(unet_of(how, CLASSES), DDPMScheduler()).save_pretrained(tmp_path / "model", safe_serialization=True)
    params = {"path": str(tmp_path / "model"), "steps": STEPS, "batch_size": BATCH}
    source = {"source": {"name": "cifar10_subset", "params": {}}, "fraction": None, "per_class": 2}

    def make(number: int) -> StageContext:
        folder = StageFolder(Path(tmp_path / f"stage{number}"))
        folder.path.mkdir()
        return StageContext(
            job={
                "data": source | {"subset_seed": 0, "validation": 0.0},
                "generator": {"name": "pixel_diffusion", "params": params},
                "seed": number,
                "times": None,
                "per_class": PER_CLASS,
                "size": None,
            },
            folder=folder,
            needs={},
            registry=load_plugins().registry,
            device="cpu",
            threads=torch.get_num_threads(),
            held=1,
            unit="CPU-hours",
            data_root=tmp_path,
            checkpoint_seconds=30,
            report=lambda progress: None,
        )

    return make


def test_the_stage_against_the_bare_pipeline(context, benchmark):
    params = PixelDiffusionParams.model_validate(context(-1).job["generator"]["params"])
    setting = Setting(tuple("abcdefghij"), None, np.arange(0), torch.device("cpu"))
    ratios, rates, peak = [], [], PeakMemory("cpu")

    def pair() -> None:
        begun = time.process_time()
        bare = PixelDiffusion(params, setting)
        requests = [GenerationRequest(label, index, index) for label in range(CLASSES) for index in range(PER_CLASS)]
        for start in range(0, len(requests), BATCH):
            bare.generate(requests[start : start + BATCH])
        alone = time.process_time() - begun
        begun = time.process_time()
        record = synthesis.run(context(len(ratios)))
        ratios.append((time.process_time() - begun) / alone)
        rates.append(record["metrics"]["images_per_second"])

    benchmark.pedantic(pair, rounds=ROUNDS, warmup_rounds=0)
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"\nstage / bare pipeline, processor time: {np.median(ratios):.3f} ({spread}, {ROUNDS} pairs)")
    print(f"{np.median(rates):.1f} images/s at 32 px, {STEPS} steps, batches of {BATCH}")
    print(f"peak resident memory of the process: {(peak.bytes() or 0) / 1e6:.0f} MB")
