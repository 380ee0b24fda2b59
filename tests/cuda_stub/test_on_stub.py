"""The tests that need a CUDA device, run on a CUDA runtime without a GPU where the machine has none.

Devices, control flow, memory and waiting are torch's own there; numbers are not compared.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.cuda_stub.build import NoStub, build
from tests.forked import ForkedProcess, Server

TESTS = Path(__file__).parents[1]
# By name: the tests, a marker that their files name, and changes of the environment.
RUNS = {
    "steps": ("cuda and not whole_run and not allocator", "cuda", {}),
    "memory": ("cuda and allocator", "allocator", {"PYTORCH_NO_CUDA_MEMORY_CACHING": "0"}),
    "whole runs": ("cuda and whole_run", "whole_run", {}),
}


@pytest.fixture(scope="module")
def stub(tmp_path_factory) -> dict[str, str]:
    """The environment of a process on the stub."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device: the tests run on that")
    try:
        environment = build(tmp_path_factory.mktemp("cuda_stub"))
    except NoStub as reason:
        pytest.skip(str(reason))
    return {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}


@pytest.fixture(scope="module")
def server(stub) -> Iterator[str]:
    """The address of a server of processes on the stub: torch is imported once for all runs and their workers."""
    server = Server(f"stub-{uuid.uuid4().hex}", stub)
    yield server.address
    server.close()


def files(marker: str) -> list[str]:
    """Files of tests that need a CUDA device and have a marker; importing all others would take longer than them."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("test_*.py"))}
    needed = {"pytest.mark.cuda", f"pytest.mark.{marker}"}
    return [
        str(path) for path, text in texts.items() if path != Path(__file__) and all(each in text for each in needed)
    ]


@pytest.mark.stub
@pytest.mark.whole_run
@pytest.mark.parametrize("run", RUNS)
def test_what_needs_a_cuda_device_passes_on_the_stub(stub, server, run):
    expression, marker, changes = RUNS[run]
    options = ["-m", expression, "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", *files(marker)]
    command = [sys.executable, "-m", "pytest", *options]
    pipe = subprocess.PIPE
    done = ForkedProcess(command, cwd=TESTS.parent, env=stub | changes, stdout=pipe, stderr=pipe, address=server)
    out, err = done.communicate(timeout=600)
    assert done.returncode == 0, out[-6000:] + err[-2000:]
    assert " passed" in out
