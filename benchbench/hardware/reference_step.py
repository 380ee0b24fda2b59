"""The speed of a device as one number: the seconds of one training step that is the same everywhere.

Wall times of two machines can be compared by it. It is no benchmark: the step is small, and float32 alone.
"""

from __future__ import annotations

import functools
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DESCRIPTION = (
    "forward and backward pass of three 3x3 convolutions (to 32, 64, 64 channels), 16 images of 32 px, float32"
)
IMAGES, SIZE = 16, 32
# Channels into and out of each convolution, and its stride.
LAYERS = ((3, 32, 1), (32, 64, 2), (64, 64, 2))
WARM_UP, REPEATS = 2, 7


@functools.cache
def reference_seconds(device: str) -> float | None:
    """Median seconds of the step that `DESCRIPTION` describes, measured once per process.

    On a CPU it is the processor time of one thread, so that others on the machine matter little. It draws no random
    number and leaves the number of threads as it was. None where the device cannot run it now.

    Args:
        device: as torch names it: "cpu", "cuda:0".
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        step, clock = _step(device), time.thread_time if device == "cpu" else time.perf_counter
        seconds = [_seconds(step, clock) for _ in range(WARM_UP + REPEATS)]
    except RuntimeError:  # no memory is left, or the device is broken: the stage itself will say so
        return None
    finally:
        torch.set_num_threads(threads)
    return statistics.median(seconds[WARM_UP:])


def _step(device: str) -> Callable[[], object]:
    import torch
    from torch.nn import functional as F

    images = torch.full((IMAGES, 3, SIZE, SIZE), 0.5, device=device)
    weights = [
        torch.full((channels_out, channels_in, 3, 3), 0.01, device=device, requires_grad=True)
        for channels_in, channels_out, _ in LAYERS
    ]

    def step() -> None:
        features = images
        for weight, (*_, stride) in zip(weights, LAYERS, strict=True):
            features = F.relu(F.conv2d(features, weight, stride=stride, padding=1))
        torch.autograd.grad(features.mean(), weights)
        if images.is_cuda:
            torch.cuda.synchronize(device)

    return step


def _seconds(step: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    step()
    return clock() - start
