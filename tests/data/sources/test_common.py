"""Checks that all sources share."""

import numpy as np
import pytest

from benchbench.data.sources.common import FileImages, check_files, check_labels, class_order, decode, read_lines
from benchbench.errors import DataError

CLASSES = ("cat", "dog", "ship")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["10", "9", "1", "0"], ["0", "1", "9", "10"]),
        (["02", "10", "01"], ["01", "02", "10"]),
        (["1", "01", "2"], ["01", "1", "2"]),
        (["b10", "b9", "a"], ["a", "b10", "b9"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["\u0662", "10"], ["10", "\u0662"]),
    ],
)
def test_classes_named_by_numbers_are_in_their_order(names, order):
    assert class_order(names) == order


def test_labels_come_back_as_int64():
    labels = check_labels("toy", [0, 1, 2, 1], CLASSES, "train")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2, 1]


def test_a_class_without_training_images_is_named():
    with pytest.raises(DataError, match=r"toy: label 2 'ship' never occurs in the training split"):
        check_labels("toy", [0, 1, 1], CLASSES, "train")


def test_a_test_split_may_lack_a_class():
    assert len(check_labels("toy", [0, 0], CLASSES, "test")) == 2


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_out_of_range_is_named(wrong):
    with pytest.raises(DataError, match=rf"image 1 of the test split has label {wrong}.*0 to 2"):
        check_labels("toy", [0, wrong], CLASSES, "test")


def test_an_empty_split_and_twice_a_name():
    with pytest.raises(DataError, match="test split holds no image"):
        check_labels("toy", [], CLASSES, "test")
    with pytest.raises(DataError, match="both named 'cat'"):
        check_labels("toy", [0, 1], ("cat", "cat"), "test")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_every_mode_decodes_to_rgb(mode, tmp_path, save_image):
    file = tmp_path / "image.png"
    save_image(file, mode=mode)
    image = decode(file, "here")
    assert (image.mode, image.size) == ("RGB", (8, 6))


def test_a_cut_off_image_is_named(tmp_path, save_image):
    file = tmp_path / "image.jpg"
    save_image(file, size=(64, 64))
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(DataError, match=r"image\.jpg") as caught:
        FileImages((str(file),))(0)
    assert "\n" not in str(caught.value)


def test_absent_files_are_counted(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg and 1 more is listed but not there; unpack again"):
        check_files("toy", [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")], "unpack again")


def test_lists_may_have_empty_lines_and_any_line_end(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two \n")
    assert read_lines("toy", tmp_path / "list.txt") == ["one", "two"]
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.txt"):
        read_lines("toy", tmp_path / "binary.txt")
