"""Room on the disk: arrays that are mapped lie on it as a whole, or there is one line that says what is missing."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator

import numpy as np
import pytest

from benchbench.errors import StageError
from benchbench.hardware.disk import new_array, whole_array

FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process grows beyond a megabyte."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 2), (0, 3), (1,)])
def test_an_array_is_a_numpy_file_without_holes(tmp_path, shape):
    path = tmp_path / "a.npy"
    array = new_array(path, HALF, shape)
    array[...] = 1
    array.flush()
    assert np.array_equal(np.load(path, allow_pickle=False), np.ones(shape, HALF))
    np.save(tmp_path / "b.npy", np.ones(shape, HALF))
    assert path.read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_all_of_it_is_on_the_disk_before_it_is_written_to(tmp_path):
    new_array(tmp_path / "a.npy", FLOAT, (1000, 1000))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 4 * 10**6


def test_a_full_disk_is_one_line(tmp_path, full_disk):
    with pytest.raises(StageError) as caught:
        new_array(tmp_path / "a.npy", FLOAT, (1000, 1000))
    assert re.search(r"no room on the disk for .*a\.npy: it needs 0\.004 GB, and .* GB are free \(", str(caught.value))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_array_that_is_there_goes_on(tmp_path):
    new_array(tmp_path / "a.npy", FLOAT, (4, 2))[1] = 3
    again = whole_array(tmp_path / "a.npy", FLOAT, (4, 2))
    assert again.tolist() == [[0, 0], [3, 3], [0, 0], [0, 0]]
    again[2] = 5
    assert np.load(tmp_path / "a.npy")[2].tolist() == [5, 5]


def test_holes_are_filled(tmp_path):
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=FLOAT, shape=(1000, 1000))[0, 0] = 7
    assert path.stat().st_blocks * 512 < 4 * 10**6
    assert whole_array(path, FLOAT, (1000, 1000))[0, 0] == 7
    assert path.stat().st_blocks * 512 >= 4 * 10**6


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:5],
        lambda content: content[:70],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: b"no array" * 100,
        lambda content: content.replace(b"(4, 2)", b"(2, 4)"),
        lambda content: content.replace(b"<f4", b"<i4"),
        lambda content: content.replace(b"False", b"True,"),
        lambda content: content[:6] + b"\x09" + content[7:],
    ],
)
def test_what_is_cut_or_of_another_kind_is_none(tmp_path, damage):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 2), FLOAT))
    path.write_bytes(damage(path.read_bytes()))
    assert whole_array(path, FLOAT, (4, 2)) is None


def test_no_file_is_none(tmp_path):
    assert whole_array(tmp_path / "a.npy", FLOAT, (4, 2)) is None
