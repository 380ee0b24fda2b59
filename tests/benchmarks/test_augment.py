"""Augmentation of small images in batches, against PIL images through torchvision's transforms and a DataLoader.

Both give the same: shuffled batches of 64 float images at 32 px. Ours are bytes that live on the device; theirs are
decoded PIL images, in the training process. CPU time, one thread; runs alternate; the ratio is the median over pairs.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from benchbench.data.feeds import Pipeline, ResidentFeed, bind_augmenters
from benchbench.data.sources.bundled import load
from benchbench.plugins import load_plugins

SIZE, BATCH, STEPS, PAIRS = 32, 64, 15, 9
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
CASES = {
    "flip + random_crop": (
        {"flip": {}, "random_crop": {"padding": 4}},
        [transforms.RandomHorizontalFlip(), transforms.RandomCrop(SIZE, padding=4)],
    ),
    "color_jitter": ({"color_jitter": JITTER}, [transforms.ColorJitter(**JITTER)]),
    "rand_augment": (
        {"rand_augment": {}},
        [transforms.RandAugment(interpolation=transforms.InterpolationMode.BILINEAR)],
    ),
    "nothing": ({}, []),
}


@pytest.fixture(scope="module")
def images():
    return load(None, Path(), "train")


def ours(images, augment):
    """An epoch of the resident feed."""
    registry = load_plugins().registry
    entries = [
        {"name": name, "params": registry.get("augmenter", name).params(**params).model_dump()}
        for name, params in augment.items()
    ]
    augmenters = bind_augmenters({"augment": entries}, lambda name: registry.get("augmenter", name).load())
    feed = ResidentFeed(images, np.arange(STEPS * BATCH), Pipeline(SIZE, None, augmenters), torch.device("cpu"))

    def run() -> None:
        for _ in feed.train_batches(0, 0, BATCH, 0):
            pass

    return run


def theirs(images, augment):
    """An epoch of a DataLoader over decoded PIL images."""
    transform = transforms.Compose([*augment, transforms.ToTensor()])
    pictures = [Image.fromarray(pixels) for pixels in images.array[: STEPS * BATCH]]

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, index: int):
            return transform(pictures[index]), int(images.labels[index])

    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, num_workers=0)

    def run() -> None:
        for _ in loader:
            pass

    return run


@pytest.mark.parametrize("case", CASES)
def test_batches_against_pil(benchmark, images, seconds, case):
    torch.set_num_threads(1)
    batched, single = ours(images, CASES[case][0]), theirs(images, CASES[case][1])
    batched(), single()
    pairs = [(seconds(single), seconds(batched)) for _ in range(PAIRS)]
    ratios = sorted(pil / own for pil, own in pairs)
    pil, own = (statistics.median(side) / (STEPS * BATCH) * 1e6 for side in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    benchmark.extra_info |= {"times PIL": ratio, "us an image": own, "us an image, PIL": pil}
    print(f"\n{case}: {own:.1f} us an image, PIL {pil:.1f}: {ratio:.1f} x ({ratios[0]:.1f} to {ratios[-1]:.1f})")
    benchmark.pedantic(batched, rounds=5)
