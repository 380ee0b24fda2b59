"""The doctor on a CUDA device: what it finds there, and that nothing waits."""

from __future__ import annotations

import pytest
import torch

from benchbench.doctor.device import bfloat16, driver, graphics_card, jpeg_decoder, tensor_float32, usable
from benchbench.doctor.parity import TOLERANCE, Comparison, compare_augmenter, compare_loader, compare_loss
from benchbench.doctor.speed import graphed, measure, ways
from benchbench.doctor.waiting import noted_waits
from benchbench.execution.tf32 import tf32_convolutions
from benchbench.hardware.devices import find_devices
from benchbench.plugins import load_plugins
from tests.cuda import CUDA, STUB

pytestmark = pytest.mark.cuda
REGISTRY = load_plugins().registry


def test_waits_are_noted_with_their_places():
    values = torch.ones(3, device=CUDA)
    with noted_waits(CUDA) as waits:
        values.add_(1)
        values.sum().item()
        values.tolist()
    assert [place.partition(":")[0] for place in waits] == ["test_on_cuda.py"] * 2
    with noted_waits(CUDA) as waits:
        values.add_(1)
    assert waits == []


def test_the_card_is_described():
    assert usable(find_devices("cuda")) is None
    card = graphics_card(0)
    assert torch.cuda.get_device_name(0) in card.text
    assert card.figures["total_gb"] >= card.figures["free_gb"] > 0
    assert "CUDA" in driver().text
    assert {bfloat16(CUDA).section, tensor_float32(CUDA).section} == {"device"}
    assert len(ways(CUDA)) >= 4


@pytest.mark.parametrize("number", [-2, -1])
def test_a_step_is_timed_in_each_way(number):
    assert measure(REGISTRY, "resnet8", 4, ways(CUDA)[number], CUDA) > 0


def test_a_step_that_no_graph_can_hold_says_why():
    values = torch.ones(3, device=CUDA)
    with pytest.raises(RuntimeError, match="kernel by kernel"):
        graphed(lambda: values.sum().item(), CUDA)


@pytest.mark.parametrize("name", ["ce", "kd", "crd", "review"])
def test_losses_are_compared(name):
    with tf32_convolutions(CUDA, allowed=False):
        assert_equal_without_waits(compare_loss(REGISTRY.get("loss", name), CUDA))


@pytest.mark.parametrize("name", ["flip", "color_jitter", "mixup"])
def test_augmenters_are_compared(name):
    assert_equal_without_waits(compare_augmenter(REGISTRY.get("augmenter", name), CUDA))


@pytest.mark.parametrize("name", ["in memory", "cropped on the device"])
def test_loaders_are_compared(name):
    assert_equal_without_waits(compare_loader(name, CUDA))


def test_the_decoder_of_jpeg_files_is_tried():
    finding = jpeg_decoder(CUDA)
    assert "nvjpeg" in finding.text.lower()
    assert (finding.level, bool(finding.advice)) in ({("note", True)} if STUB else {("ok", False), ("note", True)})


def assert_equal_without_waits(comparison: Comparison) -> None:
    assert comparison.failure is None
    assert comparison.waits == ()
    if STUB is None:
        assert comparison.deviation is None or comparison.deviation <= TOLERANCE
