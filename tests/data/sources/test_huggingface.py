"""Parquet files in Hugging Face's layout, from a folder and from the hub's cache."""

import json
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchbench.data.info import DataInfo
from benchbench.data.sources import parquet_images
from benchbench.data.sources.huggingface import HuggingFaceParams, load
from benchbench.errors import DataError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = ["cat", "dog", "ship"]


def features(**columns):
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


NAMED = features(img={"_type": "Image"}, label={"_type": "ClassLabel", "names": NAMES})


def write(file: Path, images, labels, metadata=NAMED, image="img", label="label", **more):
    """One parquet file of small row groups; `images` are encoded, `more` maps further columns to (type, values)."""
    fields = [(image, IMAGE), (label, pa.int64()), *((name, kind) for name, (kind, _) in more.items())]
    columns = [
        pa.array([{"bytes": each, "path": None} for each in images], IMAGE),
        pa.array(labels, pa.int64()),
        *(pa.array(values, kind) for kind, values in more.values()),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns, pa.schema(fields, metadata=metadata))
    pq.write_table(table, file, row_group_size=2)


@pytest.fixture
def folder(tmp_path, png):
    """Five training images in two files and two test images, all of one size."""
    place = tmp_path / "hub"
    write(place / "data" / "train-00000-of-00002.parquet", [png(0), png(1), png(2)], [0, 1, 2])
    write(place / "data" / "train-00001-of-00002.parquet", [png(3), png(4)], [2, 1])
    write(place / "data" / "test-00000-of-00001.parquet", [png(5), png(6)], [1, 0])
    return place


def test_one_size_becomes_an_array(folder, tmp_path, pixels):
    params = HuggingFaceParams(path=folder)
    train = load(params, tmp_path, "train")
    assert train.classes == tuple(NAMES)
    assert train.labels.tolist() == [0, 1, 2, 2, 1]
    assert np.array_equal(train.array, np.stack([pixels(seed) for seed in range(5)]))
    assert np.array_equal(np.asarray(train.image(3)), pixels(3))
    assert load(params, tmp_path, "test").labels.tolist() == [1, 0]
    assert params.info(tmp_path) == DataInfo(3, 5, 2, names=tuple(NAMES))
    assert not (tmp_path / "huggingface").exists()


@pytest.mark.parametrize("why", ["sizes differ", "too large for memory"])
def test_other_sets_are_decoded_one_by_one_from_a_mapped_copy(why, folder, tmp_path, png, pixels, monkeypatch):
    if why == "sizes differ":
        write(folder / "data" / "train-00001-of-00002.parquet", [png(3), png(4, (5, 9))], [2, 1])
    else:
        monkeypatch.setattr(parquet_images, "ARRAY_BYTES", 5 * 8 * 6 * 3 - 1)
    size = (5, 9) if why == "sizes differ" else (8, 6)
    train = load(HuggingFaceParams(path=folder), tmp_path, "train")
    assert train.array is None
    assert np.array_equal(np.asarray(train.image(0)), pixels(0))
    # A loader process gets paths, not the images.
    assert len(pickle.dumps(train.image)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(np.asarray(pool.apply_async(train.image, (4,)).get(300)), pixels(4, size))
    (copy,) = (tmp_path / "huggingface").iterdir()
    written = copy.stat().st_mtime_ns
    assert load(HuggingFaceParams(path=folder), tmp_path, "train").image == train.image
    assert copy.stat().st_mtime_ns == written


def test_a_changed_file_gets_a_new_copy(folder, tmp_path, png, monkeypatch):
    monkeypatch.setattr(parquet_images, "ARRAY_BYTES", 0)
    before = load(HuggingFaceParams(path=folder), tmp_path, "test")
    file = folder / "data" / "test-00000-of-00001.parquet"
    write(file, [png(7), png(6)], [1, 0])
    os.utime(file, ns=(1, 1))
    after = load(HuggingFaceParams(path=folder), tmp_path, "test")
    assert after.image.copy != before.image.copy
    assert not np.array_equal(np.asarray(after.image(0)), np.asarray(before.image(0)))


def test_a_download_that_is_replaced_has_another_version(folder, tmp_path, png, monkeypatch):
    """Pixels kept under the same version would be those of the one before."""
    monkeypatch.setattr(parquet_images, "ARRAY_BYTES", 0)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, **_: str(folder))
    file, versions = folder / "data" / "test-00000-of-00001.parquet", []
    for blob in ("one", "one", "two"):
        file.replace(folder / blob)
        file.symlink_to(folder / blob)
        versions.append(load(HuggingFaceParams(repo="owner/name"), tmp_path, "test").version)
        file.unlink()
        (folder / blob).rename(file)
    assert versions[0] == versions[1] != versions[2]
    assert load(HuggingFaceParams(path=folder), tmp_path, "test").version == ""  # the key has the hash of the files


def test_a_copy_that_cannot_be_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_images, "ARRAY_BYTES", 0)
    (tmp_path / "huggingface").write_text("in the way")
    with pytest.raises(DataError, match="cannot write a copy"):
        load(HuggingFaceParams(path=folder), tmp_path, "test")


@pytest.mark.parametrize("damage", [b"no image", None])
def test_a_damaged_image_is_named_by_file_and_row(damage, folder, tmp_path, png, monkeypatch):
    write(folder / "data" / "train-00001-of-00002.parquet", [png(3), damage], [2, 1])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet, row 1"):
        load(HuggingFaceParams(path=folder), tmp_path, "train")
    monkeypatch.setattr(parquet_images, "ARRAY_BYTES", 0)
    train = load(HuggingFaceParams(path=folder), tmp_path, "train")
    train.image(3)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet, row 1"):
        train.image(4)


def test_a_plain_column_of_bytes(tmp_path, png, pixels):
    for split in ("train", "test"):
        table = pa.table({"picture": pa.array([png(1)], pa.large_binary()), "y": pa.array([0], pa.int8())})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    assert np.array_equal(load(HuggingFaceParams(path=tmp_path), tmp_path, "test").array[0], pixels(1))


def two_files(place, png, **given):
    for split in ("train", "test"):
        write(place / f"{split}-0.parquet", [png(0), png(1)], [0, 1], **given)


def test_without_names_classes_are_numbers(tmp_path, png):
    two_files(tmp_path, png, metadata=None)
    params = HuggingFaceParams(path=tmp_path)
    assert load(params, tmp_path, "test").classes == ("0", "1")
    assert params.info(tmp_path) == DataInfo(2, 2, 2, names=("0", "1"))


def test_ambiguous_labels_list_the_columns(tmp_path, png):
    both = {"_type": "ClassLabel", "names": ["a", "b"]}
    metadata = features(img={"_type": "Image"}, fine={**both, "names": ["x", "y"]}, coarse=both, id={"_type": "Value"})
    two_files(tmp_path, png, metadata=metadata, label="fine", coarse=(pa.int64(), [1, 0]), id=(pa.int64(), [8, 9]))
    with pytest.raises(DataError, match=r"2 columns could be the label.*'label'.*fine \(ClassLabel\).*id \(Value\)"):
        load(HuggingFaceParams(path=tmp_path), tmp_path, "train")
    chosen = load(HuggingFaceParams(path=tmp_path, label="coarse"), tmp_path, "train")
    assert (chosen.classes, chosen.labels.tolist()) == (("a", "b"), [1, 0])
    with pytest.raises(DataError, match="column 'colour' cannot be the label column"):
        load(HuggingFaceParams(path=tmp_path, label="colour"), tmp_path, "train")


def test_two_columns_of_images(tmp_path, png):
    two_files(tmp_path, png, mask=(IMAGE, [{"bytes": png(5), "path": ""}] * 2))
    assert len(load(HuggingFaceParams(path=tmp_path), tmp_path, "test")) == 2  # the metadata types one of them
    two_files(tmp_path, png, metadata=None, mask=(IMAGE, [{"bytes": png(5), "path": ""}] * 2))
    with pytest.raises(DataError, match=r"2 columns could be the image.*img.*mask"):
        load(HuggingFaceParams(path=tmp_path), tmp_path, "train")
    with pytest.raises(DataError, match="column 'label' cannot be the image column"):
        load(HuggingFaceParams(path=tmp_path, image="label"), tmp_path, "train")


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0, 1], r"label 2 'ship' never occurs in the training split"),
        ([0, 3], r"image 1 of the train split has label 3"),
        ([0, None], r"train-0\.parquet, row 1: the column 'label' is empty"),
    ],
)
def test_labels_are_checked(labels, match, tmp_path, png):
    two_files(tmp_path, png)
    write(tmp_path / "train-0.parquet", [png(0), png(1)], labels)
    with pytest.raises(DataError, match=match):
        load(HuggingFaceParams(path=tmp_path), tmp_path, "train")


def test_files_that_differ(tmp_path, png):
    two_files(tmp_path, png)
    other = features(img={"_type": "Image"}, label={"_type": "ClassLabel", "names": ["dog", "cat", "ship"]})
    write(tmp_path / "test-0.parquet", [png(0)], [1], metadata=other)
    with pytest.raises(DataError, match=r"test-0\.parquet has other columns or class names"):
        HuggingFaceParams(path=tmp_path).info(tmp_path)


def test_files_that_are_absent_or_broken(folder, tmp_path):
    with pytest.raises(DataError, match=r"validation-\*\.parquet.*found: test-00000"):
        load(HuggingFaceParams(path=folder, test_split="validation"), tmp_path, "test")
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load(HuggingFaceParams(path=tmp_path / "nowhere"), tmp_path, "test")
    (folder / "data" / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"'train' .* is incomplete: file 0 of 2"):
        load(HuggingFaceParams(path=folder), tmp_path, "test")
    (folder / "data" / "train-00000-of-00002.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(DataError, match=r"cannot read .*train-00000-of-00002\.parquet"):
        HuggingFaceParams(path=folder).info(tmp_path)


def test_several_configurations(folder, tmp_path, png):
    two_files(folder / "other", png)
    with pytest.raises(DataError, match=r"several folders .*data, other.*'folder'"):
        load(HuggingFaceParams(path=folder), tmp_path, "train")
    assert len(load(HuggingFaceParams(path=folder, folder="data"), tmp_path, "train")) == 5


def test_the_hub_without_a_network_is_one_line(tmp_path, no_network, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for repo in ("owner/name", "not a name"):
        with pytest.raises(DataError) as caught:
            HuggingFaceParams(repo=repo).info(tmp_path)
        assert f"data set '{repo}' cannot be downloaded" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sum(waits) < 5


def test_the_hub_is_asked_once(folder, tmp_path, monkeypatch, no_network):
    """The cache of a download is read afterwards without a network."""
    snapshots = tmp_path / "huggingface" / "datasets--owner--name"
    commit = "0" * 40
    (snapshots / "snapshots").mkdir(parents=True)
    folder.rename(snapshots / "snapshots" / commit)
    (snapshots / "refs").mkdir()
    (snapshots / "refs" / "main").write_text(commit)
    assert len(load(HuggingFaceParams(repo="owner/name"), tmp_path, "train")) == 5
    # A download that stopped half-way is not taken for the whole.
    (snapshots / "snapshots" / commit / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"incomplete|cannot be downloaded"):
        load(HuggingFaceParams(repo="owner/name"), tmp_path, "train")


def test_a_download_asks_for_the_splits_of_the_folder(folder, tmp_path, monkeypatch):
    asked = []

    def snapshot_download(repo, **given):
        asked.append({"repo": repo, **given})
        if given["local_files_only"]:
            raise FileNotFoundError("not in the cache")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    params = HuggingFaceParams(repo="owner/name", revision="v1", folder="data")
    assert params.info(tmp_path) == DataInfo(3, 5, 2, names=tuple(NAMES))
    assert [each["local_files_only"] for each in asked] == [True, False]
    assert (asked[1]["repo"], asked[1]["revision"], asked[1]["repo_type"]) == ("owner/name", "v1", "dataset")
    assert asked[1]["cache_dir"] == tmp_path / "huggingface"
    assert asked[1]["allow_patterns"][:2] == ["data/*train-*.parquet", "data/*train.parquet"]


@pytest.mark.parametrize("test_split", ["train", "train-00001-of-00002"])
def test_a_split_that_is_two_parts(folder, tmp_path, test_split):
    for place in ({"path": folder}, {"repo": "owner/name"}):
        params = HuggingFaceParams(**place, test_split=test_split)
        with pytest.raises(DataError, match=f"the parts are to differ: files of the split '{test_split}' are both"):
            params.info(tmp_path)
