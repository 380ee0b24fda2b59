"""Every augmenter on a CUDA device: it stays there, never makes the host wait, and gives the CPU's images."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from benchbench.augmenters import benchbench_augmenters
from tests.cuda import CUDA, STUB, assert_on_device, no_waiting

pytestmark = pytest.mark.cuda
COMPONENTS = {component.name: component for component in benchbench_augmenters() if not component.generates}


def augmented(name: str, images: Tensor) -> tuple[Tensor, ...]:
    """The result of one call; of an augmenter that mixes also partners and shares."""
    component, random = COMPONENTS[name], Generator().manual_seed(3)
    params = component.params().model_dump(mode="json")
    if component.mixes:
        return component.load()(images, random, **params)
    return (component.load()(images, 32, random, **params),)


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_batch_stays_on_the_device_without_waiting(name):
    images = torch.rand(8, 3, 36, 36).to(CUDA)
    augmented(name, images)
    with no_waiting():
        result = augmented(name, images)
    assert_on_device(*result)


@pytest.mark.skipif(STUB is not None, reason="numbers mean nothing on the stub")
@pytest.mark.parametrize("name", COMPONENTS)
def test_images_are_the_cpus(name):
    images = torch.rand(8, 3, 36, 36)
    for ours, theirs in zip(augmented(name, images.to(CUDA)), augmented(name, images), strict=True):
        # A pixel at a border may fall to its other side by rounding.
        assert (ours.cpu().float() - theirs.float()).abs().mean() < 1e-3
