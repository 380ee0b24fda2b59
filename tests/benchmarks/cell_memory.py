"""What training adds to a process, as a program of its own: `cell_memory.py TEACHER STUDENT naive|plain|folded`.

Prints JSON: the growth of the resident set at its peak, and the bytes that a training run needs by any account. It runs
apart because a process that has done other work has memory to spare, which would hide the growth.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import timm  # noqa: F401 (what libraries take is not a cell's)
import torch
import torchvision  # noqa: F401
from conftest import BATCH, Epoch, naive, plain
from torch import Tensor, nn

from benchbench.data.sources.bundled import load
from benchbench.execution.network import ExecutionConfig


def folded(model: str, trained: bool) -> ExecutionConfig:
    return ExecutionConfig(channels_last=True, fold_bn=not trained)


def status(name: str) -> int:
    """Bytes under a name of this process's status: VmRSS, or VmHWM, the peak since the last `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind tensors, each once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def saved_for_backward(run, besides: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps of one forward pass, apart from those of parameters, buffers and images."""
    known, kept = {tensor.untyped_storage().data_ptr() for tensor in besides}, []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return size(kept)


def main(teacher: str, student: str, way: str) -> None:
    torch.set_num_threads(1)
    load(None, Path(), "train")
    small = nn.Conv2d(3, 8, 3)  # what the kernels' library sets up once
    small(torch.rand(1, 3, 8, 8)).sum().backward()
    gc.collect()
    before = status("VmRSS")
    forget_peak()
    if way == "naive":
        naive(student, teacher)()
        peak = status("VmHWM") - before
    with tempfile.TemporaryDirectory() as folder:
        epoch = Epoch(Path(folder), teacher, student, way=folded if way == "folded" else plain)
        epoch()
    if way != "naive":
        peak = status("VmHWM") - before

    (training,) = epoch.trainings
    states = [list(model.state_dict().values()) for model in (training.model, *training.teachers)]
    trained = [parameter for parameter in training.model.parameters() if parameter.requires_grad]
    batch = next(training.train.train_batches(0, 0, BATCH, 0))
    taught = [teach(batch, False) for teach in training.teach]
    known = [tensor for state in states for tensor in state] + [batch.images, *training.model.buffers()]
    needs = {
        "models": sum(map(size, states)),
        "gradients and optimiser": 3 * size(trained),
        "data": size([training.train.images, training.train.labels, batch.images]),
        "activations": saved_for_backward(
            lambda: training.losses(training.network(batch.images), taught, batch), known
        ),
    }
    print(json.dumps({"peak": peak, **needs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
