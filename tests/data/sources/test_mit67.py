"""MIT-67 in its official layout."""

import pytest

from benchbench.data.info import DataInfo
from benchbench.data.sources.mit67 import Mit67Params, load
from benchbench.errors import DataError

TRAIN = ["kitchen/int474.jpg", "kitchen/a kitchen.jpg", "airport_inside/airport_inside_0001.jpg"]
TEST = ["airport_inside/airport_inside_0002.jpg", "kitchen/int475.jpg"]


@pytest.fixture
def folder(tmp_path, save_image):
    place = tmp_path / "mit67"
    for seed, name in enumerate([*TRAIN, *TEST, "kitchen/in no list.jpg"]):
        save_image(place / "Images" / name, seed)
    (place / "TrainImages.txt").write_text("\n".join(TRAIN))  # the official lists end without a line break
    (place / "TestImages.txt").write_text("\n".join(TEST))
    return place


def test_official_layout(folder, tmp_path):
    train, test = (load(Mit67Params(), tmp_path, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("airport_inside", "kitchen")
    assert train.labels.tolist() == [1, 1, 0]
    assert test.labels.tolist() == [0, 1]
    assert train.image(1).size == (8, 6)
    assert Mit67Params().info(tmp_path) == DataInfo(2, 3, 2)
    assert len(load(Mit67Params(path=folder), tmp_path / "elsewhere", "train")) == 3


def test_absent_files_have_official_sizes_and_advice(tmp_path):
    info = Mit67Params().info(tmp_path)
    assert (info.classes, info.train, info.test) == (67, 5360, 1340)
    assert all(name in info.note for name in ("indoorCVPR_09.tar", "TrainImages.txt", str(tmp_path / "mit67")))
    with pytest.raises(DataError) as caught:
        load(Mit67Params(), tmp_path, "test")
    assert str(caught.value) == info.note


def test_broken_lists_are_named(folder, tmp_path):
    (folder / "TestImages.txt").write_text("bar/one.jpg\n")
    with pytest.raises(DataError, match=r"class 'bar' of TestImages\.txt never occurs in TrainImages\.txt"):
        load(Mit67Params(), tmp_path, "test")
    (folder / "TrainImages.txt").write_text("kitchen\n")
    with pytest.raises(DataError, match="'kitchen', not 'class/file'"):
        Mit67Params().info(tmp_path)
    (folder / "TrainImages.txt").unlink()
    with pytest.raises(DataError, match=r"TrainImages\.txt"):
        load(Mit67Params(), tmp_path, "train")


def test_an_absent_image_is_named(folder, tmp_path):
    (folder / "Images" / TRAIN[0]).unlink()
    with pytest.raises(DataError, match=r"int474\.jpg is listed but not there"):
        load(Mit67Params(), tmp_path, "train")
