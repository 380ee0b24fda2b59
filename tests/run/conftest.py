"""A suite of seconds: in a file, run to its end, and a copy of its store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import timm
import torch

from tests.run.commands import run, write_suite


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Weights of both networks in files, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in ("test_efficientnet", "test_resnet"):
        torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    return {"weights": folder / "test_efficientnet.pth", "teacher": folder / "test_resnet.pth"}


@pytest.fixture
def suite(tmp_path, weights) -> Path:
    return write_suite(tmp_path / "tiny.yaml", weights)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, weights) -> Path:
    """A folder where the suite ran to its end without interruption."""
    folder = tmp_path_factory.mktemp("finished")
    run(write_suite(folder / "tiny.yaml", weights), cwd=folder, figures=True)
    return folder


@pytest.fixture
def store_copy(finished, tmp_path) -> Path:
    """A copy of the finished store, for tests that add to it or damage it."""
    return shutil.copytree(finished / "runs", tmp_path / "store")
