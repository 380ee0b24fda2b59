"""The time that a step takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchbench.execution.graph_pool import GraphPool
from benchbench.hardware.accelerator import synchronize

# A GPU is asked for the time of several steps at once, so long as they take no longer: the host runs ahead of it.
BURST, BURST_SECONDS = 10, 0.2
# Steps before one is captured: kernels are chosen, and memory is taken.
WARM_UP = 3

Step = Callable[[], Any]


def step_seconds(step: Step, device: torch.device) -> float:
    """Seconds of one call: of this process's processor time on one CPU thread, so that neighbours do not count."""
    if device.type in ("cuda", "mps"):
        first = _burst(step, device, 1)
        count = min(BURST, int(BURST_SECONDS / first))
        return _burst(step, device, count) if count > 1 else first
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    begun = clock()
    step()
    return clock() - begun


def _burst(step: Step, device: torch.device, count: int) -> float:
    synchronize(device)
    begun = time.perf_counter()
    for _ in range(count):
        step()
    synchronize(device)
    return (time.perf_counter() - begun) / count


class GraphedSteps:
    """Steps as a training runs them on a GPU: each as one CUDA graph, where it can be one, else as it is.

    Made for steps that take turns: their graphs share one memory, in which a step's results last until another runs.
    """

    def __init__(self, device: torch.device):
        self._pool = GraphPool(device)

    def __call__(self, step: Step) -> Step:
        main, side = torch.cuda.current_stream(self._pool.device), self._pool.stream
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step()
        main.wait_stream(side)
        torch.cuda.empty_cache()  # a graph has memory of its own
        try:
            graph, _ = self._pool.capture(step)
        except RuntimeError as error:
            print(f"its steps run kernel by kernel, and not as one CUDA graph: {str(error).splitlines()[0]}")
            return step
        return graph.replay
