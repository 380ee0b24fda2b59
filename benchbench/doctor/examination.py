"""All that the doctor looks at, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchbench.doctor import machine
from benchbench.doctor.finding import Finding
from benchbench.hardware.devices import Devices, find_devices
from benchbench.plugins import load_plugins


def examine(device: str, store: Path, components: bool = True) -> Iterator[Finding]:
    """Every finding, as soon as it is known; it takes about a minute.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        store: folder of results; it need not exist.
        components: whether losses, augmenters and loaders are tried, and steps are timed, which takes longest.

    Raises:
        BenchBenchError: the device is not there.
    """
    devices = find_devices(device, jobs=1)
    index = _torch_index(devices)
    yield from machine.look(store)
    import torch

    from benchbench.doctor import device as device_

    if problem := device_.usable(devices):
        yield problem
        return
    chosen = torch.device("cuda", index) if devices.kind == "cuda" else torch.device("cpu")
    yield from device_.look(devices, chosen)
    if not components:
        return
    from benchbench.doctor import parity, speed

    registry = load_plugins().registry
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker on a CPU has by default, and so that other work matters little
    try:
        yield from parity.look(registry, chosen)
        yield from speed.look(registry, chosen)
    finally:
        torch.set_num_threads(threads)


def _torch_index(devices: Devices) -> int:
    """torch's number of the first GPU: its place among those that are visible; torch is made to count by bus."""
    if devices.kind != "cuda":
        return 0
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return find_devices("cuda").slots.index(devices.slots[0])
