"""TF32 is allowed and forbidden for a while, by one of torch's two interfaces alone."""

from __future__ import annotations

import contextlib

import pytest
import torch

from benchbench.execution.tf32 import has_tf32, tf32_convolutions

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def _defaults():
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False


def allowed() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("before", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("convolutions", [True, False])
def test_it_holds_for_a_while(before, convolutions):
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    with contextlib.suppress(ZeroDivisionError), tf32_convolutions(CUDA, convolutions):
        assert allowed() == (convolutions, False)
        with tf32_convolutions(CUDA, allowed=not convolutions):
            assert allowed() == (not convolutions, False)
        assert allowed() == (convolutions, False)
        raise ZeroDivisionError
    assert allowed() == before


def test_other_devices_leave_it_alone():
    with tf32_convolutions(torch.device("cpu"), allowed=False):
        assert allowed() == (True, False)
    assert not has_tf32(torch.device("cpu"))


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has one interface")
def test_the_newer_interface_keeps_in_step():
    """Also where somebody has set it to what the older one cannot tell: recurrent layers in TF32, convolutions not."""
    cudnn = torch.backends.cudnn
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "ieee", "tf32"
    with tf32_convolutions(CUDA, allowed=False):
        assert cudnn.conv.fp32_precision != "tf32"
        assert torch.backends.cuda.matmul.fp32_precision != "tf32"
        assert allowed() == (False, False)
        with tf32_convolutions(CUDA, allowed=True):
            assert cudnn.conv.fp32_precision == "tf32"
    assert allowed() == (True, False)
