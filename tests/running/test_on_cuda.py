"""A whole grid on a CUDA device: every kind of stage, two workers on one card, or one whose device fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.forked import ForkedProcess

STUB = "BENCHBENCH_CUDA_STUB" in os.environ
FIXED = {"precision": "bf16", "channels_last": True, "fold_bn": False, "compile": False}
pytestmark = [pytest.mark.cuda, pytest.mark.whole_run]


def test_a_grid_of_every_kind_of_stage(tiny_suite, tmp_path):
    path = tiny_suite(
        tmp_path,
        seeds=[0],
        students={"small": {"model": "cifar/resnet8"}},
        teachers={
            "big": {"model": "cifar/resnet14", "adapt": {"scratch": {"precision": "auto", "channels_last": "auto"}}}
        },
        selection={"rule": "best", "validation": 0.2},
        # Of the measurements that choose a way of running, each of which takes seconds, one: the teacher's.
        recipes={"default": {"epochs": 1, "batch_size": 16, "image_size": 32, **FIXED}},
        arms={
            "several": {
                "method": "distill",
                "loss": {"ce": 1, "kd": 1, "crd": {"weight": 1, "negatives": 8}, "fitnets": {"weight": 1}},
            },
            "mixed": {
                "method": "distill",
                "loss": {"ce": 1, "kd": 1},
                "recipe": {"augment": {"flip": {}, "color_jitter": {}, "cutmix": {}}},
            },
            "views": {"method": "distill", "loss": {"ce": 1, "kd": 1}, "recipe": {"views": 2}},
        },
    )
    store = tmp_path / "store"
    jobs = "1" if STUB else "2"  # on the stub a second worker follows the first, which fails
    command = ("-m", "benchbench", "run", path, "--device", "cuda", "--jobs", jobs, "--store", store, "--format", "csv")
    fault = tmp_path / "fault"
    fault.touch()  # on the stub, one worker's device is broken from its first kernel on: another process takes over
    # A GPU is out of reach for a process that was forked after another has asked for it.
    start, pipe = (ForkedProcess if STUB else subprocess.Popen), subprocess.PIPE
    arguments = [sys.executable, *map(str, command)]
    env = {**os.environ, "CUDA_STUB_STICKY": str(fault)}
    process = start(arguments, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    assert "failed" not in out
    assert fault.exists() != STUB
