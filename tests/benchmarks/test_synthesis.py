"""Generating images: the stage beside the bare pipeline in one run, images a second, and the peak of memory.

`pytest tests/benchmarks/test_synthesis.py -s` prints them. The model is a small one in pixels with random weights: the
cost of a step does not depend on its training.
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
from benchbench.specs.parts import ComponentSpec
from benchbench.specs.stages import SynthesisSpec
from benchbench.stages import synthesis
from benchbench.stages.context import StageContext
from benchbench.stages.diffusion import build_unet
from benchbench.store import StageFolder
from benchbench.synthesis import PixelDiffusionParams, TrainedDiffusionParams
from benchbench.synthesis.base import GenerationRequest, Setting
from benchbench.synthesis.pixels import PixelDiffusion
from tests.specs import data_spec

CLASSES, PER_CLASS, BATCH, STEPS, ROUNDS = 10, 8, 16, 10, 5


@pytest.fixture
def context(tmp_path):
    """A stage of some images by a small model in a folder."""
    torch.manual_seed(0)
    unet = build_unet(TrainedDiffusionParams(), CLASSES)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "model", safe_serialization=True)
    params = {"path": str(tmp_path / "model"), "steps": STEPS, "batch_size": BATCH}

    def make(index: int) -> StageContext[SynthesisSpec]:
        folder = StageFolder(Path(tmp_path / f"stage{index}"))
        folder.path.mkdir()
        spec = SynthesisSpec(
            data=data_spec(per_class=2),
            seed=index,
            generator=ComponentSpec(name="pixel_diffusion", params=params),
            per_class=PER_CLASS,
            components={},
            code="",
        )
        return StageContext(
            spec=spec,
            folder=folder,
            needs={},
            registry=load_plugins().registry,
            device="cpu",
            threads=torch.get_num_threads(),
            num_devices=1,
            unit="CPU-hours",
            data_root=tmp_path,
            checkpoint_seconds=30,
            report=lambda progress: None,
        )

    return make


def test_the_stage_against_the_bare_pipeline(context, benchmark):
    params = PixelDiffusionParams.model_validate(context(-1).spec.generator.params)
    setting = Setting(tuple("abcdefghij"), None, np.arange(0), torch.device("cpu"))
    ratios, rates, peak = [], [], PeakMemory("cpu")

    def pair() -> None:
        start = time.process_time()
        bare = PixelDiffusion(params, setting)
        requests = [GenerationRequest(label, index, index) for label in range(CLASSES) for index in range(PER_CLASS)]
        for first in range(0, len(requests), BATCH):
            bare.generate(requests[first : first + BATCH])
        alone = time.process_time() - start
        start = time.process_time()
        result = synthesis.run(context(len(ratios)))
        ratios.append((time.process_time() - start) / alone)
        rates.append(result.record.metrics.images_per_second)

    benchmark.pedantic(pair, rounds=ROUNDS, warmup_rounds=0)
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"\nstage / bare pipeline, processor time: {np.median(ratios):.3f} ({spread}, {ROUNDS} pairs)")
    print(f"{np.median(rates):.1f} images/s at 32 px, {STEPS} steps, batches of {BATCH}")
    print(f"peak resident memory of the process: {(peak.bytes() or 0) / 1e6:.0f} MB")
