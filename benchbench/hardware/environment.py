"""Software and device of a run; recorded beside every result."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

from benchbench.hardware.reference_step import reference_seconds
from benchbench.specs.records import Environment

LIBRARIES = ("benchbench", "torch", "torchvision", "timm", "numpy")


def environment(device: str, device_name: str, commit: str | None) -> Environment:
    """Versions of libraries, device and driver, and the device's speed."""
    import torch

    cuda = device.startswith("cuda")
    versions: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = None
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        device=torch.cuda.get_device_name(device) if cuda else device_name,
        cuda=torch.version.cuda if cuda else None,
        commit=commit,
        versions=versions,
        reference_seconds=reference_seconds(device),
    )


def git_commit(folder: Path) -> str | None:
    """The commit that a folder is checked out at; None outside a repository."""
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
