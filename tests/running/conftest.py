"""A suite of seconds: in a file, run to its end, and a copy of its store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from filelock import FileLock

from tests.conftest import shared_folder
from tests.images import write_images
from tests.running.commands import run, write_suite


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Folders that all workers of pytest share: `made_once("name", fill)` fills a folder where none has. Read only."""
    root = shared_folder(tmp_path_factory)

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, complete = root / f"shared-{name}", root / f"shared-{name}.complete"
        with FileLock(root / f"shared-{name}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker where it failed
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def images(made_once) -> Path:
    """Few small images."""
    return made_once("images", write_images)


@pytest.fixture(scope="session")
def files(made_once, images) -> dict[str, Path]:
    """Files that suites read: the images, and weights of both networks, so that nothing is downloaded."""

    def fill(folder: Path) -> None:
        torch.manual_seed(0)
        for name in ("test_efficientnet", "test_resnet"):
            torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")

    folder = made_once("weights", fill)
    return {"images": images, "weights": folder / "test_efficientnet.pth", "teacher": folder / "test_resnet.pth"}


@pytest.fixture
def suite(tmp_path, files) -> Path:
    return write_suite(tmp_path / "tiny.yaml", files)


@pytest.fixture(scope="session")
def finished(made_once, files) -> Path:
    """A folder where the suite ran to its end in a forked worker, without interruption."""

    def fill(folder: Path) -> None:
        run(write_suite(folder / "tiny.yaml", files), cwd=folder, figures=True, workers=True)

    return made_once("finished", fill)


@pytest.fixture
def store_copy(finished, tmp_path) -> Path:
    """A copy of the finished store, for tests that add to it or damage it."""
    return shutil.copytree(finished / "runs", tmp_path / "store")
