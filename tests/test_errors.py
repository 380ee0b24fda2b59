"""Kinds of errors by what torch and CUDA's libraries write."""

from __future__ import annotations

import gc
import traceback
import weakref

import pytest
import torch

from benchbench.errors import StageError, breaks_device, clear_frames, did_you_mean, is_out_of_memory

OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
]
BROKEN_DEVICE = [
    RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: misaligned address"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: the launch timed out and was terminated"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]
OTHERS = [
    StageError("CUDA error: out of memory"),  # our own sentence about one
    RuntimeError("CUDA error: invalid configuration argument"),
    RuntimeError("expected scalar type Half but found Float"),
    ValueError("device-side assert"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_memory_that_ran_out(error):
    assert is_out_of_memory(error)
    assert not breaks_device(error)


def test_memory_of_the_machine_that_ran_out():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", BROKEN_DEVICE, ids=str)
def test_a_broken_device(error):
    assert breaks_device(error)
    assert not is_out_of_memory(error)
    with pytest.raises(StageError) as caught:
        raise StageError("the teacher cannot be run") from error
    assert breaks_device(caught.value)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors(error):
    assert not is_out_of_memory(error)
    assert not breaks_device(error)


def test_an_error_lets_go_of_its_variables_and_stays_printable():
    references = []

    def step():
        activations = torch.zeros(8)
        references.append(weakref.ref(activations))
        raise MemoryError

    def train():
        targets = torch.zeros(4)
        references.append(weakref.ref(targets))
        try:
            step()
        except MemoryError as error:
            raise StageError("too large") from error

    try:
        train()
    except StageError as caught:
        error = caught
    gc.collect()
    assert all(reference() is not None for reference in references)
    clear_frames(error)
    assert [reference() for reference in references] == [None, None]
    text = "".join(traceback.format_exception(error))
    assert "in step" in text
    assert "in train" in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CIFAR100", "did you mean 'cifar100'?"),
        ("cifar10", "did you mean 'cifar100'?"),
        ("resnet", "did you mean 'ResNet'?"),
        ("kd", "known: ResNet, cifar100"),
    ],
)
def test_a_suggestion_looks_past_the_case(name, hint):
    assert did_you_mean(name, ["cifar100", "ResNet"]) == hint
