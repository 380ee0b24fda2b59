"""CUB-200-2011 in its official layout."""

import pytest

from benchbench.data.info import DataInfo
from benchbench.data.sources.cub200 import Cub200Params, load
from benchbench.errors import DataError

IMAGES = [  # number, file, class number, trains
    (1, "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, 0),
    (2, "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 1),
    (3, "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg", 2, 1),
    (4, "002.Laysan_Albatross/Laysan_Albatross_0003_1033.jpg", 2, 0),
]


@pytest.fixture
def folder(tmp_path, save_image):
    place = tmp_path / "CUB_200_2011"
    for number, file, _, _ in IMAGES:
        save_image(place / "images" / file, number, mode="L" if number == 2 else "RGB")
    lists = {
        "images.txt": [f"{number} {file}" for number, file, _, _ in IMAGES],
        "image_class_labels.txt": [f"{number} {label}" for number, _, label, _ in IMAGES],
        "train_test_split.txt": [f"{number} {trains}" for number, _, _, trains in IMAGES],
        "classes.txt": ["1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"],
    }
    for name, lines in lists.items():
        (place / name).write_text("\n".join(lines) + "\n")
    return place


def test_official_layout(folder, tmp_path):
    train, test = (load(Cub200Params(), tmp_path, split) for split in ("train", "test"))
    assert train.classes == ("Black_footed_Albatross", "Laysan_Albatross")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [0, 1]
    assert train.image.files[0].endswith("Black_Footed_Albatross_0009_34.jpg")
    assert train.image(0).mode == "RGB"
    assert Cub200Params().info(tmp_path) == DataInfo(2, 2, 2)


def test_path_says_where(folder, tmp_path):
    assert len(load(Cub200Params(path=folder), tmp_path / "elsewhere", "test")) == 2


def test_absent_files_have_official_sizes_and_advice(tmp_path):
    info = Cub200Params().info(tmp_path)
    assert (info.classes, info.train, info.test) == (200, 5994, 5794)
    assert "CUB_200_2011.tgz" in info.note
    assert str(tmp_path / "CUB_200_2011") in info.note
    with pytest.raises(DataError) as caught:
        load(Cub200Params(), tmp_path, "train")
    assert str(caught.value) == info.note


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("classes.txt", "1 001.A\n3 003.B\n", "does not number its classes"),
        ("images.txt", "one line\n", "'one line', not 'number value'"),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n", r"image 4 .* has label ''"),
        ("train_test_split.txt", "1 1\n2 1\n3 2\n4 1\n", "split '2'"),
        ("train_test_split.txt", "1 1\n2 1\n3 0\n4 0\n", "label 1 'Laysan_Albatross' never occurs"),
    ],
)
def test_broken_lists_are_named(name, text, match, folder, tmp_path):
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=match):
        load(Cub200Params(), tmp_path, "train")


def test_absent_list_and_absent_image(folder, tmp_path):
    (folder / "images" / IMAGES[0][1]).unlink()
    with pytest.raises(DataError, match=r"0046_18\.jpg is listed but not there"):
        load(Cub200Params(), tmp_path, "test")
    (folder / "images.txt").unlink()
    with pytest.raises(DataError, match=r"images\.txt"):
        Cub200Params().info(tmp_path)
