"""A user's own folders."""

import pickle

import numpy as np
import pytest
from PIL import Image

from benchbench.data.info import DataInfo
from benchbench.data.sources.imagefolder import ImageFolderParams, load
from benchbench.errors import DataError


@pytest.fixture
def folder(tmp_path, save_image):
    for seed, name in enumerate(
        [
            "train/dog/b.JPG",
            "train/dog/a.png",
            "train/cat/x.webp",
            "train/cat/deep/y.bmp",
            "test/cat/1.ppm",
            "test/dog/1.jpeg",
        ]
    ):
        save_image(tmp_path / name, seed)
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no image")
    save_image(tmp_path / "train" / "dog" / ".hidden.png")
    save_image(tmp_path / "train" / "dog" / ".checkpoints" / "a.png")
    save_image(tmp_path / "train" / ".cache" / "a.png")
    return tmp_path


def test_order_and_extensions(folder):
    params = ImageFolderParams(path=folder)
    train = load(params, folder, "train")
    assert train.classes == ("cat", "dog")
    assert [file[len(str(folder)) + 1 :] for file in train.image.files] == [
        "train/cat/deep/y.bmp",
        "train/cat/x.webp",
        "train/dog/a.png",
        "train/dog/b.JPG",
    ]
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert load(params, folder, "test").labels.tolist() == [0, 1]
    left_out = "train/: 2 files are left out: 1 .txt (dog/notes.txt), 1 hidden (dog/.hidden.png)"
    assert params.info(folder) == DataInfo(2, 4, 2, left_out, ("cat", "dog"))


def test_pixels_and_pickle(folder):
    image = pickle.loads(pickle.dumps(load(ImageFolderParams(path=folder), folder, "train").image))  # noqa: S301
    with Image.open(folder / "train" / "dog" / "a.png") as expected:
        assert np.array_equal(np.asarray(image(2)), np.asarray(expected))


def test_val_stands_in_for_test_unless_another_name_is_asked_for(folder):
    (folder / "test").rename(folder / "val")
    assert len(load(ImageFolderParams(path=folder), folder, "test")) == 2
    with pytest.raises(DataError, match="holdout is not a folder"):
        load(ImageFolderParams(path=folder, test_folder="holdout"), folder, "test")
    (folder / "val").rename(folder / "holdout")
    assert len(load(ImageFolderParams(path=folder, test_folder="holdout"), folder, "test")) == 2


def test_splits_with_different_classes(folder, save_image):
    save_image(folder / "train" / "bird" / "1.png")
    with pytest.raises(DataError, match="test lacks 'bird'"):
        load(ImageFolderParams(path=folder), folder, "train")
    (folder / "train" / "bird").rename(folder / "test" / "bird")
    with pytest.raises(DataError, match="train lacks 'bird'"):
        ImageFolderParams(path=folder).info(folder)


def test_an_empty_class_folder(folder):
    (folder / "train" / "bird").mkdir()
    (folder / "train" / "bird" / "film.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"bird holds no image \(of \.jpg .*\); 1 file is left out: 1 \.mp4"):
        load(ImageFolderParams(path=folder), folder, "train")


def test_absent_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="train is not a folder"):
        load(ImageFolderParams(path=tmp_path), tmp_path, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="train holds no class folders"):
        load(ImageFolderParams(path=tmp_path), tmp_path, "train")


def test_a_damaged_image_is_named_when_it_is_asked_for(folder):
    (folder / "test" / "cat" / "1.ppm").write_bytes(b"P6 broken")
    images = load(ImageFolderParams(path=folder), folder, "test")
    assert images.image(1).size == (8, 6)
    with pytest.raises(DataError, match=r"test/cat/1\.ppm"):
        images.image(0)
