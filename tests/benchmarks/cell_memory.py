"""Memory that training adds to a process: `python -m tests.benchmarks.cell_memory TEACHER STUDENT naive|plain|folded`.

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

import timm  # noqa: F401 (the memory of libraries is not a cell's)
import torch
import torchvision  # noqa: F401
from torch import Tensor, nn

from benchbench.data.sources.bundled import load
from benchbench.execution.network import ExecutionConfig
from tests.benchmarks.epochs import BATCH, Epoch, naive, plain


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
    """Bytes that autograd saves of one forward pass, apart from those of parameters, buffers and images."""
    known, saved = {tensor.untyped_storage().data_ptr() for tensor in besides}, []

    def save(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        run()
    return size(saved)


def main(teacher: str, student: str, way: str) -> None:
    torch.set_num_threads(1)
    load(None, Path(), "train")
    small = nn.Conv2d(3, 8, 3)  # sets up the library of kernels once
    small(torch.rand(1, 3, 8, 8)).sum().backward()
    gc.collect()
    before = status("VmRSS")
    forget_peak()
    if way == "naive":
        naive(student, teacher)()
        peak = status("VmHWM") - before
    with tempfile.TemporaryDirectory() as folder:
        epoch = Epoch(Path(folder), teacher, student, execution_of=folded if way == "folded" else plain)
        epoch()
    if way != "naive":
        peak = status("VmHWM") - before

    (member,), loader = epoch.members, epoch.inputs.train
    states = [list(model.state_dict().values()) for model in (member.model, *epoch.teachers)]
    trained = [parameter for parameter in member.model.parameters() if parameter.requires_grad]
    batch = next(loader.train_batches(0, 0, BATCH, 0))
    teacher_outputs = [teacher(batch, False) for teacher in epoch.inputs.teachers]
    known = [tensor for state in states for tensor in state] + [batch.images, *member.model.buffers()]
    needs = {
        "models": sum(map(size, states)),
        "gradients and optimiser": 3 * size(trained),
        "data": size([loader.images, loader.labels, batch.images]),
        "activations": saved_for_backward(
            lambda: member.losses(member.network(batch.images), teacher_outputs, batch), known
        ),
    }
    print(json.dumps({"peak": peak, **needs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
