"""Depthwise convolutions: the weight gradient against autograd's, and a mode that changes nothing else."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchbench.execution import depthwise
from benchbench.execution.depthwise import DepthwiseMode, signature, weight_gradient

KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (1, 3), (5, 2), (4, 4)]
STRIDES = [(1, 1), (2, 2), (3, 3), (1, 2)]
PADDINGS = [(0, 0), (1, 1), (2, 2), (3, 3), (0, 2)]
SIZES = [(1, 1), (2, 3), (7, 5), (8, 8)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_is_autograd_s(kernel):
    """In float64, over every stride, padding and size that has an output."""
    torch.manual_seed(0)
    compared = 0
    for stride, padding, size in itertools.product(STRIDES, PADDINGS, SIZES):
        if any(side + 2 * pad < reach for side, pad, reach in zip(size, padding, kernel, strict=True)):
            continue
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        weight = torch.randn(3, 1, *kernel, dtype=torch.float64, requires_grad=True)
        out = F.conv2d(images, weight, None, stride, padding, 1, 3)
        gradient = torch.randn_like(out)
        (expected,) = torch.autograd.grad(out, weight, gradient)
        actual = weight_gradient(images, gradient, kernel, stride, padding)
        assert actual.shape == weight.shape
        assert torch.allclose(actual, expected, rtol=1e-12, atol=1e-12), (stride, padding, size)
        compared += 1
    assert compared >= 15


def test_taps_that_meet_padding_alone_have_no_gradient():
    images, gradient = torch.ones(1, 2, 1, 1), torch.ones(1, 2, 3, 3)
    actual = weight_gradient(images, gradient, (5, 5), (1, 1), (3, 3))
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1  # outputs at -1, 0, 1 around the only pixel
    assert torch.equal(actual, expected.expand(2, 1, 5, 5))


class Names(list):
    """Notes the depthwise convolutions that a mode sees."""

    def __call__(self, name, *_layer):
        self.append(name)


def passes(layer: nn.Module, images: torch.Tensor, mode: DepthwiseMode | None):
    """Output, and the gradients of images and parameters."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    if mode is None:
        out = layer(images)
    else:
        with mode:
            out = layer(images)
    torch.manual_seed(1)
    out.backward(torch.randn(out.shape, dtype=out.dtype))
    return out, [images.grad, *(parameter.grad.clone() for parameter in layer.parameters())]


@pytest.fixture
def taken(monkeypatch) -> list[tuple[int, int]]:
    """Kernels of the convolutions whose gradient was taken tap by tap."""
    kernels = []

    def note(images, gradient, kernel, stride, padding):
        kernels.append(kernel)
        return weight_gradient(images, gradient, kernel, stride, padding)

    monkeypatch.setattr(depthwise, "weight_gradient", note)
    return kernels


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 2, 2), ((1, 3), (1, 2), (0, 1))])
def test_a_chosen_layer_gives_the_same_output_and_gradients(kernel, stride, padding, layout, bias, taken):
    layer = nn.Conv2d(4, 4, kernel, stride, padding, groups=4, bias=bias).double().to(memory_format=layout)
    images = torch.randn(3, 4, 7, 6, dtype=torch.float64).contiguous(memory_format=layout)
    names = Names()
    passes(layer, images, DepthwiseMode((), names))
    assert taken == []
    expected, gradients = passes(layer, images, None)
    actual, own = passes(layer, images, DepthwiseMode(names))
    assert taken == [layer.kernel_size]
    assert torch.equal(actual, expected)
    assert actual.is_contiguous(memory_format=layout) == expected.is_contiguous(memory_format=layout)
    for one, other in zip(own, gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    assert torch.equal(own[0], gradients[0])  # the images' is the library's


def test_a_frozen_weight_gets_no_gradient_and_lets_the_images_have_theirs(taken):
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=4).requires_grad_(False)
    images = torch.randn(2, 4, 5, 5, requires_grad=True)
    names = Names()
    with DepthwiseMode((), names):
        layer(images)
    with DepthwiseMode(names):
        out = layer(images)
    out.sum().backward()
    assert images.grad is not None
    assert (layer.weight.grad, layer.bias.grad, taken) == (None, None, [])


LEFT_ALONE = {
    "dense": nn.Conv2d(4, 4, 3),
    "one channel": nn.Conv2d(1, 1, 3),
    "grouped": nn.Conv2d(4, 4, 3, groups=2),
    "two outputs a channel": nn.Conv2d(4, 8, 3, groups=4),
    "dilated": nn.Conv2d(4, 4, 3, groups=4, dilation=2),
    "padding in words": nn.Conv2d(4, 4, 3, groups=4, padding="same"),
    "linear": nn.Linear(6, 3),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_other_layers_are_not_seen(case, taken):
    layer, names = LEFT_ALONE[case], Names()
    images = torch.randn(2, getattr(layer, "in_channels", 4), 6, 6)
    assert passes(layer, images, DepthwiseMode((), names))[0].isfinite().all()
    assert names == []

    class Everything(frozenset):
        def __contains__(self, _name):
            return True

    mode = DepthwiseMode(())
    mode.chosen = Everything()
    expected, actual = passes(layer, images, None), passes(layer, images, mode)
    assert torch.equal(actual[0], expected[0])
    assert all(torch.equal(one, other) for one, other in zip(actual[1], expected[1], strict=True))
    assert taken == []


def test_only_what_is_chosen_changes(taken):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 5, padding=2, groups=4))
    names, images = Names(), torch.randn(2, 4, 6, 6)
    passes(network, images, DepthwiseMode((), names))
    assert names == ["4x6x6 k3x3 s1x1", "4x6x6 k5x5 s1x1"]
    passes(network, images, DepthwiseMode([names[1]]))
    assert taken == [(5, 5)]


def test_arguments_by_name_are_understood(taken):
    images, weight = torch.randn(2, 4, 6, 6), torch.randn(4, 1, 3, 3, requires_grad=True)
    names = Names()
    with DepthwiseMode((), names):
        expected = torch.conv2d(images, weight, groups=4, stride=(2, 1), padding=1)
    assert names == ["4x6x6 k3x3 s2x1"]
    with DepthwiseMode(names):
        actual = torch.conv2d(input=images, weight=weight, groups=4, stride=(2, 1), padding=1)
    assert torch.equal(actual, expected)
    actual.sum().backward()
    assert taken == [(3, 3)]


def test_the_signature_tells_shapes_apart_and_not_batches():
    weight = torch.zeros(4, 1, 5, 3)
    assert signature(torch.zeros(7, 4, 9, 8), weight, (2, 1)) == "4x9x8 k5x3 s2x1"
    assert signature(torch.zeros(1, 4, 9, 8), weight, (2, 1)) == "4x9x8 k5x3 s2x1"
    others = [(torch.zeros(7, 4, 8, 9), weight, (2, 1)), (torch.zeros(7, 4, 9, 8), weight, (1, 2))]
    assert len({"4x9x8 k5x3 s2x1", *(signature(*other) for other in others)}) == 3
