"""How long the commands that plan and list take, as whole processes."""

import subprocess
import sys
from pathlib import Path

import pytest

SUITES = Path(__file__).parents[2] / "suites"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["plugins"], ["plan", SUITES / "paper.yaml"]], ids=lambda a: a[0]
)
def test_startup(benchmark, tmp_path, arguments):
    command = [sys.executable, "-m", "benchbench", *map(str, arguments)]
    benchmark.pedantic(
        lambda: subprocess.run(command, cwd=tmp_path, check=True, capture_output=True), rounds=5, warmup_rounds=1
    )
