"""The images that come with the package are the ones that its README describes."""

import hashlib
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchbench.data import benchbench_datasets
from benchbench.data.sources.bundled import FOLDER, Cifar10SubsetParams, load, rows
from benchbench.errors import DataError

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def original(split: str) -> Path:
    folder = os.environ.get("BENCHBENCH_TEST_DATA")
    if not folder:
        pytest.skip("BENCHBENCH_TEST_DATA does not point to the folder with CIFAR-10's original parquet files")
    files = sorted(Path(folder).rglob(f"cifar10/{split}-*.parquet")) or sorted(Path(folder).glob(f"{split}-*.parquet"))
    if not files:
        pytest.skip(f"BENCHBENCH_TEST_DATA={folder} holds no {split}-*.parquet of CIFAR-10")
    return files[0]


@pytest.mark.parametrize("split", ["train", "test"])
def test_sizes_and_strata(split, tmp_path):
    images = load(Cifar10SubsetParams(), tmp_path, split)
    assert images.classes == NAMES
    assert images.array.shape == (1000, 32, 32, 3)
    assert images.array.dtype == np.uint8
    assert images.labels.dtype == np.int64
    assert np.bincount(images.labels).tolist() == [100] * 10
    info = Cifar10SubsetParams().info(tmp_path)
    assert (info.classes, info.train, info.test) == (10, len(images), len(images))


def test_image_is_the_array_and_pickles(tmp_path):
    images = load(Cifar10SubsetParams(), tmp_path, "test")
    again = pickle.loads(pickle.dumps(images.image))  # noqa: S301 (its own bytes)
    assert np.array_equal(np.asarray(again(7)), images.array[7])


@pytest.mark.parametrize("name", ["cifar10_subset.webp", "cifar10_subset.csv"])
def test_files_are_those_of_the_readme(name):
    stated = re.search(rf"`{re.escape(name)}`.*`([0-9a-f]{{64}})`", README)
    assert stated
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == stated[1]


def test_pixels_are_those_of_the_readme(tmp_path):
    both = [load(Cifar10SubsetParams(), tmp_path, split).array for split in ("train", "test")]
    assert hashlib.sha256(np.concatenate(both).tobytes()).hexdigest() in README


def test_small_enough_for_a_package():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 4_500_000


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_equal_the_originals(split, tmp_path):
    table = pq.read_table(original(split))
    images = load(Cifar10SubsetParams(), tmp_path, split)
    encoded = table["img"]
    for number, (_, index, name) in enumerate(rows(split)):
        with Image.open(io.BytesIO(encoded[index].as_py()["bytes"])) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), images.array[number])
        assert NAMES[table["label"][index].as_py()] == name


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_readme_tells_how_to_choose_them(split):
    labels = {each: pq.read_table(original(each), columns=["label"])["label"].to_numpy() for each in ("train", "test")}
    draw = np.random.RandomState(2009)
    chosen = {
        each: sorted(
            index for number in range(10) for index in draw.permutation(np.flatnonzero(labels[each] == number))[:100]
        )
        for each in ("train", "test")
    }
    assert [index for _, index, _ in rows(split)] == chosen[split]


def test_a_damaged_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("benchbench.data.sources.bundled.FOLDER", tmp_path)
    with pytest.raises(DataError, match="installed package is damaged"):
        load(Cifar10SubsetParams(), tmp_path, "train")


def test_the_key_sees_the_images_their_splits_and_classes():
    component = next(each for each in benchbench_datasets() if each.name == "cifar10_subset")
    files = ("cifar10_subset.webp", "cifar10_subset.csv")
    content = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in files)).hexdigest()
    assert component.version
    assert content.startswith(component.version)
