"""The tests that need a CUDA device, run on a CUDA runtime without a GPU where the machine has none.

Devices, control flow, memory and waiting are torch's own there; numbers are not compared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cuda_stub.build import NoStub, build

TESTS = Path(__file__).parents[1]
# By name: the tests, a marker that their files name, and changes of the environment.
RUNS = {
    "steps": ("cuda and not whole_run and not allocator", "cuda", {}),
    "memory": ("cuda and allocator", "allocator", {"PYTORCH_NO_CUDA_MEMORY_CACHING": "0"}),
    "whole runs": ("cuda and whole_run", "whole_run", {}),
}


@pytest.fixture(scope="session")
def stub(tmp_path_factory) -> dict[str, str]:
    """The environment of a process on the stub."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device: the tests run on that")
    try:
        return build(tmp_path_factory.mktemp("cuda_stub"))
    except NoStub as reason:
        pytest.skip(str(reason))


def files(marker: str) -> list[str]:
    """Files of tests that need a CUDA device and have a marker; importing all others would take longer than them."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("test_*.py"))}
    needed = {"pytest.mark.cuda", f"pytest.mark.{marker}"}
    return [
        str(path) for path, text in texts.items() if path != Path(__file__) and all(each in text for each in needed)
    ]


@pytest.mark.whole_run
@pytest.mark.parametrize("run", RUNS)
def test_what_needs_a_cuda_device_passes_on_the_stub(stub, run):
    expression, marker, changes = RUNS[run]
    options = ["-m", expression, "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", *files(marker)]
    command = [sys.executable, "-m", "pytest", *options]
    environment = {name: value for name, value in stub.items() if not name.startswith("PYTEST_")} | changes
    done = subprocess.run(
        command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
