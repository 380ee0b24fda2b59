"""A look at folders of photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchbench.errors import BenchBenchError
from benchbench.proposal.folder import look_at


def fill(folder: Path, count: int, side: int = 40) -> Path:
    """Photographs of two classes."""
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (side + 20, side + number), (number, 0, 0)).save(folder / name / f"{number}.png")
    return folder


def test_parts_are_drawn_where_there_are_none(tmp_path):
    found = look_at(fill(tmp_path / "photos", 5))
    assert (found.is_split, found.train, found.test, found.classes, found.side) == (True, 8, 2, 2, 42)


@pytest.mark.parametrize("test", ["test", "val"])
def test_parts_that_are_there_are_taken(tmp_path, test):
    fill(tmp_path / "train", 3)
    fill(tmp_path / test, 2)
    found = look_at(tmp_path)
    assert (found.is_split, found.train, found.test) == (False, 6, 4)


def test_a_training_part_alone_is_split(tmp_path):
    fill(tmp_path / "train", 5)
    assert (look_at(tmp_path).is_split, look_at(tmp_path).train) == (True, 8)


def test_what_is_no_folder_of_photographs(tmp_path):
    (tmp_path / "one.png").write_bytes(b"")
    for folder, problem in (
        (tmp_path / "absent", "absent is not a folder; name one that holds a folder of images for each class"),
        (tmp_path, "holds no class folders"),
    ):
        with pytest.raises(BenchBenchError, match=problem):
            look_at(folder)
    bad = fill(tmp_path / "bad", 5)
    for path in bad.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(BenchBenchError, match="none of 10 images can be read; are they photographs"):
        look_at(bad)
