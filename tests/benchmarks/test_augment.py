"""Augmentation of small images in batches, against PIL images through torchvision's transforms and a DataLoader.

Both give the same: shuffled batches of 64 float images at 32 px. Ours are bytes that live on the device; theirs are
decoded PIL images, in the training process. CPU time, one thread; runs alternate; the ratio is the median over pairs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms

from benchbench.data.images import ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.sources.bundled import load
from benchbench.data.transforms import Transform, bind_augmenters
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec

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
    """An epoch of the resident loader."""
    registry = load_plugins().registry
    components = [
        ComponentSpec(name=name, params=registry.get("augmenter", name).params(**params).model_dump())
        for name, params in augment.items()
    ]
    augmenters = bind_augmenters(components, lambda name: registry.get("augmenter", name).load())
    subset = ImageSubset(images, np.arange(STEPS * BATCH))
    loader = InMemoryLoader(subset, Transform(SIZE, None, augmenters), torch.device("cpu"))

    def run() -> None:
        for _ in loader.train_batches(0, 0, BATCH, 0):
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
def test_batches_against_pil(benchmark, images, ratios, report, case):
    batched, single = ours(images, CASES[case][0]), theirs(images, CASES[case][1])
    target = 10.0 if case == "flip + random_crop" else None
    report("batched augmentation, times a PIL DataLoader", case, ratios(single, batched, PAIRS), target)
    benchmark.pedantic(batched, rounds=5)
