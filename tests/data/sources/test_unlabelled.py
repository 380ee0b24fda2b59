"""Images without labels, in any folders."""

from __future__ import annotations

import pytest
from PIL import Image

from benchbench.data.sources.unlabelled import UnlabelledParams, load
from benchbench.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for shade, name in enumerate(("b/1.png", "a.jpg", "b/c/2.webp")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (shade, shade, shade)).save(tmp_path / name, lossless=True, quality=100)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    return tmp_path


def test_all_images_below_the_folder_are_the_training_split(folder):
    params = UnlabelledParams(path=folder)
    images = load(params, folder, "train")
    assert images.classes == ()
    assert images.labels.tolist() == [0, 0, 0]
    assert [images.image(index).getpixel((0, 0))[0] for index in range(3)] == [1, 0, 2]  # by path
    assert len(load(params, folder, "test")) == 0


def test_a_plan_counts_them_and_says_what_is_left_out(folder):
    info = UnlabelledParams(path=folder).info(folder)
    assert (info.classes, info.train, info.test, info.labelled) == (0, 3, 0, False)
    assert "notes.txt" in info.note


def test_an_absent_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        UnlabelledParams(path=tmp_path / "absent").info(tmp_path)
    with pytest.raises(DataError, match="holds no image"):
        UnlabelledParams(path=tmp_path).info(tmp_path)
