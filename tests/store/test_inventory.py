"""The inventory of a store: its stages, also while others are at work on it, and wherever their folders lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchbench.planning.model import KINDS
from benchbench.specs.stages import STAGE_KINDS
from benchbench.store import inventory
from benchbench.store.inventory import kind_folders, stages_at, stages_of
from tests.store.keys import KEY

NAME = f"cell/{KEY[:16]}"


def test_every_kind_is_known():
    assert set(KINDS) == STAGE_KINDS


def test_files_that_go_meanwhile_are_left_out(store, folder, monkeypatch):
    """A run writes each file by way of a temporary one."""
    iterdir = Path.iterdir
    folder.log.write_text("attempt 1\n")
    monkeypatch.setattr(Path, "iterdir", lambda path: [*iterdir(path), path / ".record.json.host-1.tmp"])
    (stage,) = stages_of(store)
    assert dict(stage.sizes) == {"log.txt": 10}


def test_a_stage_that_goes_meanwhile_is_left_out(store, folder, monkeypatch):
    def removed(stage, is_held):
        shutil.rmtree(stage.path)
        return "stopped", ""

    monkeypatch.setattr(inventory, "_status", removed)
    assert stages_of(store) == []


def test_a_kind_on_another_disk(store, folder, tmp_path):
    """Its stages are known by that folder alone: a link of another name, or to a single stage, adds none."""
    folder.log.write_text("attempt 1\n")
    (store.root / "cell").rename(tmp_path / "big")
    for link in ("cell", "mine"):
        (store.root / link).symlink_to(tmp_path / "big")
    (store.root / "cell" / ("f" * 16)).symlink_to(folder.path)
    (stage,) = stages_of(store)
    assert (stage.name, stage.bytes) == (NAME, 10)


@pytest.mark.parametrize("disk", ["own", "another"])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        (f"runs/{NAME}", {NAME}),
        (f"runs/{NAME}/weights.safetensors", {NAME}),
        (f"mine/../runs/{NAME}/outputs/logits.npy", {NAME}),
        (f"linked/{NAME}", {NAME}),
        ("best.safetensors", {NAME}),
        ("runs/cell", set()),
        (f"other/{NAME}", set()),
        ("runs/store.json", set()),
    ],
)
def test_stages_at_paths(store, folder, tmp_path, monkeypatch, path, names, disk):
    monkeypatch.chdir(tmp_path)
    folder.weights.touch()
    if disk == "another":
        (store.root / "cell").rename(tmp_path / "big")
        (store.root / "cell").symlink_to(tmp_path / "big")
    Path("linked").symlink_to(store.root)
    Path("best.safetensors").symlink_to(folder.weights)
    kinds = kind_folders(stages_of(store))
    assert stages_at(kinds, [path]) == stages_at(kinds, [str(Path(path).absolute())]) == names
