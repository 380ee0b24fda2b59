"""Images decoded once: the same pixels, from files, wherever they fit."""

from __future__ import annotations

import copy
import fcntl
import gc
import itertools
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchbench.data import decoded
from benchbench.data.decoded import DecodedImages, decoded_once, pixels_of
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.sources.common import ArrayImages, FileImages
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform
from benchbench.errors import DataError

CPU = torch.device("cpu")
SHAPES = [((14, 14), "RGB"), ((30, 13), "L"), ((9, 22), "RGBA"), ((40, 40), "CMYK"), ((21, 16), "RGB")]


@pytest.fixture
def encoded(tmp_path) -> ImageDataset:
    """JPEG and PNG files of many sizes and modes."""
    random, files = np.random.RandomState(1), []
    for number, (size, mode) in enumerate(SHAPES):
        file = tmp_path / f"{number}.{'png' if mode == 'RGBA' else 'jpg'}"
        Image.fromarray(random.randint(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(file)
        files.append(str(file))
    return ImageDataset(np.arange(5) % 2, ("a", "b"), FileImages(tuple(files)))


def counting(images: ImageDataset) -> tuple[ImageDataset, list[int]]:
    """The set, and the images that it decodes from now on."""
    calls: list[int] = []
    return replace(images, image=lambda index: calls.append(index) or images.image(index)), calls


def test_pixels_are_the_decoder_s_and_are_decoded_once(encoded, tmp_path, capsys):
    expected = [np.array(encoded.image(index).convert("RGB")) for index in range(5)]
    source, calls = counting(encoded)
    images = decoded_once(source, tmp_path / "decoded")
    assert capsys.readouterr().out.startswith(f"pixels of decoded images are kept in {tmp_path / 'decoded'}: about ")
    assert isinstance(images.image, DecodedImages)
    calls.clear()
    for _ in range(2):
        for index in (3, 1, 4, 0, 2):
            assert np.array_equal(pixels_of(images, index), expected[index])
            assert np.array_equal(np.array(images.image(index)), expected[index])
    assert calls == [3, 1, 4, 0, 2]
    again, later = counting(encoded)
    images = decoded_once(again, tmp_path / "decoded")
    assert np.array_equal(pixels_of(images, 2), expected[2])
    assert later == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("damage", [b"", b"no pixels", None])
def test_a_damaged_file_is_written_again(encoded, tmp_path, damage):
    images = decoded_once(encoded, tmp_path / "decoded")
    expected = pixels_of(images, 1)
    (path,) = (tmp_path / "decoded").rglob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7] if damage is None else damage)
    assert np.array_equal(pixels_of(images, 1), expected)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_images(encoded, tmp_path, workers):
    images = decoded_once(encoded, tmp_path / "decoded")
    plain, kept = (
        StreamingLoader(ImageSubset(each, np.arange(5)), Transform(8, None, ()), CPU, workers)
        for each in (encoded, images)
    )
    for epoch in (0, 1):
        for one, other in zip(plain.train_batches(0, epoch, 2, 0), kept.train_batches(0, epoch, 2, 0), strict=True):
            assert torch.equal(one.images, other.images)
    assert len(list((tmp_path / "decoded").rglob("*.npy"))) == 5
    assert not [path for path in (tmp_path / "decoded").rglob(".*")]


def test_what_does_not_fit_is_left_as_it_is(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MOST_BYTES", 1000)
    assert decoded_once(encoded, tmp_path / "decoded") is encoded
    monkeypatch.undo()
    monkeypatch.setattr(decoded, "MOST_OF_FREE", 1e-15)
    assert decoded_once(encoded, tmp_path / "decoded") is encoded
    monkeypatch.undo()
    Path(tmp_path / "file").touch()
    assert decoded_once(encoded, tmp_path / "file" / "decoded") is encoded
    array = np.zeros((5, 4, 4, 3), np.uint8)
    in_memory = ImageDataset(encoded.labels, encoded.classes, ArrayImages(array), array)
    assert decoded_once(in_memory, tmp_path / "decoded") is in_memory


class TestBound:
    """All splits together take a bounded number of bytes; the one that was not used for the longest time goes."""

    @pytest.fixture
    def use(self, encoded, tmp_path, monkeypatch):
        """Uses the splits of some names, each of 5 images, where there is room for two."""
        size = decoded._estimate(encoded)
        monkeypatch.setattr(decoded, "ALL_BYTES", 2 * size + 1000)
        clock = itertools.count(1_000_000_000)

        def use(name: str) -> ImageDataset:
            images = decoded_once(encoded, tmp_path / "pixels" / name)
            if images is not encoded:
                os.utime(tmp_path / "pixels" / name / decoded.FITS, (0, next(clock)))
                pixels_of(images, 1)
            return images

        return use

    @pytest.fixture
    def names(self, tmp_path):
        return lambda: sorted(path.name for path in (tmp_path / "pixels").iterdir() if path.name != ".lock")

    def test_the_least_recently_used_goes(self, use, names):
        for name in ("a", "b", "a", "c"):
            use(name)
        assert names() == ["a", "c"]
        use("b")
        assert names() == ["b", "c"]

    def test_one_that_is_used_stays(self, use, names, encoded):
        first = use("a")
        use("b")
        third = use("c")
        assert names() == ["a", "c"]
        assert use("d") is encoded  # no room: both are used
        assert names() == ["a", "c"]
        assert all(np.array_equal(pixels_of(images, 2), pixels_of(encoded, 2)) for images in (first, third))
        del first
        gc.collect()
        assert use("d") is not encoded
        assert names() == ["c", "d"]

    def test_one_that_another_process_uses_stays(self, use, names, tmp_path):
        use("a"), use("b")
        with (tmp_path / "pixels" / "a" / decoded.FITS).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            use("c")
            assert names() == ["a", "c"]

    def test_it_goes_on_without_a_folder_that_was_deleted(self, use, encoded, tmp_path):
        images = use("a")
        shutil.rmtree(tmp_path / "pixels" / "a")
        assert np.array_equal(pixels_of(images, 2), pixels_of(encoded, 2))

    def test_sizes_that_were_not_noted_are_counted(self, use, names, tmp_path):
        for name in ("a", "b"):
            for index in range(5):
                pixels_of(use(name), index)
            (tmp_path / "pixels" / name / decoded.FITS).write_text("")
            os.utime(tmp_path / "pixels" / name / decoded.FITS, (0, ord(name)))
        use("c")
        assert names() == ["b", "c"]

    def test_what_killed_processes_left_goes(self, use, names, tmp_path):
        use("a")
        (tmp_path / "pixels" / ".gone-x").mkdir()
        old, new = (tmp_path / "pixels" / "a" / "0000" / f".0000002.npy.{name}" for name in ("old", "new"))
        old.touch(), new.touch()
        os.utime(old, (0, 0))
        use("b"), use("a")
        assert names() == ["a", "b"]
        assert (old.exists(), new.exists()) == (False, True)

    def test_its_lock_does_not_go_to_another_process_with_it(self, use):
        images = use("a").image
        assert images.lock is not None
        assert copy.copy(images).lock is None


def test_without_room_on_the_disk_images_are_decoded_each_time(encoded, tmp_path):
    """Here a file stands in the place of the folder for the images."""
    source, calls = counting(encoded)
    images = decoded_once(source, tmp_path / "decoded")
    (tmp_path / "decoded" / "0000").touch()
    calls.clear()
    for _ in range(2):
        assert np.array_equal(pixels_of(images, 2), np.array(encoded.image(2).convert("RGB")))
    assert calls == [2, 2]


def test_an_image_that_cannot_be_read_is_named(encoded, tmp_path):
    images = decoded_once(encoded, tmp_path / "decoded")
    path = Path(encoded.image.files[3])
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"cannot read the image {path}"):
        pixels_of(images, 3)
