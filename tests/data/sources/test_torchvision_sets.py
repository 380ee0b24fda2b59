"""Small data in the layouts that torchvision's classes read; only checksums and official sizes are patched."""

import errno
import fcntl
import hashlib
import os
import pickle
import tarfile
import time

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100, DTD, Flowers102

from benchbench.data.info import DataInfo
from benchbench.data.sources import torchvision_sets
from benchbench.errors import DataError


def sized(base, classes, train, test, **given):
    """Parameters whose official sizes are those of the small data."""

    class Small(base):
        def info(self, root):
            return DataInfo(classes, train, test)

    return Small(**given)


def md5(file):
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def one_line_error(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- CIFAR ---------------------------------------------------------------------------------------------------------


def write_cifar(folder, batches, key, meta, names):
    """`batches`: file name -> labels. Pixels are stored as [N, 3 * 32 * 32], a plane per colour."""
    folder.mkdir(parents=True)
    stored = {}
    for number, (name, labels) in enumerate(batches.items()):
        data = np.random.RandomState(number).randint(0, 256, (len(labels), 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, key: labels}))
        stored[name] = data
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: names}))
    return stored


def patch_checksums(monkeypatch, build, folder):
    for files in ("train_list", "test_list"):
        listed = [[name, md5(folder / name)] for name, _ in getattr(build, files)]
        monkeypatch.setattr(build, files, listed)
    monkeypatch.setattr(build, "meta", {**build.meta, "md5": md5(folder / build.meta["filename"])})


def test_cifar10(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    batches = {f"data_batch_{number}": [0, 1, 2] for number in range(1, 6)} | {"test_batch": [2, 1]}
    stored = write_cifar(folder, batches, "labels", ("batches.meta", "label_names"), ["cat", "dog", "ship"])
    patch_checksums(monkeypatch, CIFAR10, folder)
    small = sized(torchvision_sets.Cifar10Params, 3, 15, 2)
    train = torchvision_sets.cifar10(small, tmp_path, "train")
    test = torchvision_sets.cifar10(small, tmp_path, "test")
    assert train.array.shape == (15, 32, 32, 3)
    assert train.array.flags["C_CONTIGUOUS"]
    assert train.classes == test.classes == ("cat", "dog", "ship")
    assert train.labels.tolist() == [0, 1, 2] * 5
    assert test.labels.tolist() == [2, 1]
    expected = stored["test_batch"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(test.array, expected)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(test.image))(1)), expected[1])  # noqa: S301


def test_cifar100_has_fine_labels(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-100-python"
    batches = {"train": [0, 1, 1], "test": [1]}
    write_cifar(folder, batches, "fine_labels", ("meta", "fine_label_names"), ["apple", "bee"])
    patch_checksums(monkeypatch, CIFAR100, folder)
    train = torchvision_sets.cifar100(sized(torchvision_sets.Cifar100Params, 2, 3, 1), tmp_path, "train")
    assert train.labels.tolist() == [0, 1, 1]
    assert train.classes == ("apple", "bee")


def test_sizes_that_are_not_the_official_ones_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-100-python"
    write_cifar(folder, {"train": [0, 1], "test": [1]}, "fine_labels", ("meta", "fine_label_names"), ["apple", "bee"])
    patch_checksums(monkeypatch, CIFAR100, folder)
    with pytest.raises(DataError, match=r"2 images of 2 classes, not 50000 of 100"):
        torchvision_sets.cifar100(torchvision_sets.Cifar100Params(), tmp_path, "train")


# --- DTD -----------------------------------------------------------------------------------------------------------


def write_dtd(base, save_image, partition=1):
    listed = {
        "train": ["banded/banded_0001.jpg", "woven/woven_0001.jpg"],
        "val": ["woven/woven_0002.jpg", "banded/banded_0002.jpg"],
        "test": ["woven/woven_0003.jpg"],
    }
    for seed, name in enumerate(name for names in listed.values() for name in names):
        save_image(base / "images" / name, seed)
    (base / "labels").mkdir()
    for split, names in listed.items():
        (base / "labels" / f"{split}{partition}.txt").write_text("\n".join(names) + "\n")


def test_dtd_trains_on_train_and_val(tmp_path, save_image):
    write_dtd(tmp_path / "dtd" / "dtd", save_image, partition=3)
    small = sized(torchvision_sets.DtdParams, 2, 4, 1, partition=3)
    train = torchvision_sets.dtd(small, tmp_path, "train")
    assert train.classes == ("banded", "woven")
    assert train.labels.tolist() == [0, 1, 1, 0]
    assert train.array is None
    with Image.open(tmp_path / "dtd" / "dtd" / "images" / "woven" / "woven_0002.jpg") as image:
        assert np.array_equal(np.asarray(train.image(2)), np.asarray(image))


def test_an_archive_put_there_by_hand_is_unpacked(tmp_path, save_image, monkeypatch, no_network):
    write_dtd(tmp_path / "made" / "dtd", save_image)
    archive = tmp_path / "data" / "dtd" / "dtd-r1.0.1.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / "dtd", "dtd")
    monkeypatch.setattr(DTD, "_MD5", md5(archive))
    assert len(torchvision_sets.dtd(sized(torchvision_sets.DtdParams, 2, 4, 1), tmp_path / "data", "train")) == 4


def test_a_download_that_was_cut_short_is_noticed(tmp_path, save_image):
    write_dtd(tmp_path / "dtd" / "dtd", save_image)
    (tmp_path / "dtd" / "dtd" / "images" / "woven" / "woven_0002.jpg").unlink()
    with pytest.raises(DataError, match=r"woven_0002\.jpg is listed but not there.*delete"):
        torchvision_sets.dtd(sized(torchvision_sets.DtdParams, 2, 4, 1), tmp_path, "train")


def test_a_damaged_image_is_named_when_it_is_asked_for(tmp_path, save_image):
    write_dtd(tmp_path / "dtd" / "dtd", save_image)
    (tmp_path / "dtd" / "dtd" / "images" / "woven" / "woven_0003.jpg").write_bytes(b"no image")
    one_class = sized(torchvision_sets.DtdParams, 1, 4, 1)
    test = torchvision_sets.dtd(one_class, tmp_path, "test")
    with pytest.raises(DataError, match=r"cannot read the image .*woven_0003\.jpg"):
        test.image(0)


# --- Flowers-102 ---------------------------------------------------------------------------------------------------


def test_flowers102(tmp_path, save_image, monkeypatch):
    folder = tmp_path / "flowers-102"
    for number in range(1, 308):
        save_image(folder / "jpg" / f"image_{number:05d}.jpg", number)
    labels = np.array([1 + number % 102 for number in range(307)], dtype=np.uint8)
    numbers = np.arange(1, 308, dtype=np.uint16)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    savemat(folder / "setid.mat", {"trnid": numbers[:102], "valid": numbers[102:204], "tstid": numbers[:203:-1]})
    checksums = {
        kind: (name, md5(folder / name)) for kind, (name, _) in Flowers102._file_dict.items() if kind != "image"
    }
    monkeypatch.setattr(Flowers102, "_file_dict", {**Flowers102._file_dict, **checksums})
    small = sized(torchvision_sets.Flowers102Params, 102, 204, 103)
    train = torchvision_sets.flowers102(small, tmp_path, "train")
    test = torchvision_sets.flowers102(small, tmp_path, "test")
    assert train.labels.tolist() == [*range(102), *range(102)]
    assert test.labels.tolist() == [(number - 1) % 102 for number in range(307, 204, -1)]
    assert test.image.files[0].endswith("image_00307.jpg")
    assert len(set(train.classes)) == 102
    assert train.classes[0] in ("pink primrose", "1")  # older releases of torchvision know numbers alone


# --- Oxford-IIIT Pet -----------------------------------------------------------------------------------------------


def test_pets(tmp_path, save_image):
    folder = tmp_path / "oxford-iiit-pet"
    listed = {
        "trainval": ["Abyssinian_1 1 1 1", "great_pyrenees_7 2 2 1", "great_pyrenees_8 2 2 1"],
        "test": ["Abyssinian_2 1 1 1", "great_pyrenees_1 2 2 1"],
    }
    (folder / "annotations").mkdir(parents=True)
    for split, lines in listed.items():
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            save_image(folder / "images" / f"{line.split()[0]}.jpg")
    small = sized(torchvision_sets.PetsParams, 2, 3, 2)
    train = torchvision_sets.pets(small, tmp_path, "train")
    assert train.classes == ("Abyssinian", "Great Pyrenees")
    assert train.labels.tolist() == [0, 1, 1]
    assert torchvision_sets.pets(small, tmp_path, "test").labels.tolist() == [0, 1]
    assert train.image(0).mode == "RGB"


# --- Caltech-101 ---------------------------------------------------------------------------------------------------


def write_caltech(root, save_image):
    counts = {"BACKGROUND_Google": 4, "Faces": 10, "ant": 6, "watch": 7}
    for name, count in counts.items():
        for number in range(1, count + 1):
            mode = "L" if name == "ant" else "RGB"
            save_image(
                root / "caltech101" / "101_ObjectCategories" / name / f"image_{number:04d}.jpg", number, mode=mode
            )


def test_caltech101(tmp_path, save_image):
    write_caltech(tmp_path, save_image)
    small = sized(torchvision_sets.Caltech101Params, 3, 18, 5)
    train = torchvision_sets.caltech101(small, tmp_path, "train")
    test = torchvision_sets.caltech101(small, tmp_path, "test")
    assert train.classes == test.classes == ("Faces", "ant", "watch")
    assert np.bincount(train.labels).tolist() == [8, 5, 5]  # 8, 4.8 and 5.6; 18 of 23 in all
    assert not set(train.image.files) & set(test.image.files)
    assert len(set(train.image.files) | set(test.image.files)) == 23
    grey = int(np.flatnonzero(train.labels == 1)[0])
    assert np.asarray(train.image(grey)).shape == (6, 8, 3)
    again = torchvision_sets.caltech101(small, tmp_path, "train")
    assert again.image == train.image


def test_the_split_is_stratified_exact_and_not_by_order():
    counts = np.array([31, 800, 435, 34, 41, 50])
    labels = np.repeat(np.arange(6), counts)
    chosen = torchvision_sets.stratified_split(labels, 6, seed=0)
    training_counts = np.bincount(labels[chosen], minlength=6)
    assert training_counts.sum() == round(0.8 * len(labels))
    assert (np.abs(training_counts - 0.8 * counts) < 1).all()
    first = np.concatenate([np.arange(count) < share for count, share in zip(counts, training_counts, strict=True)])
    assert not np.array_equal(chosen, first)
    assert np.array_equal(chosen, torchvision_sets.stratified_split(labels, 6, seed=0))
    assert not np.array_equal(chosen, torchvision_sets.stratified_split(labels, 6, seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_the_split_of_caltechs_8677_images_has_the_stated_sizes(seed, tmp_path):
    # Whatever the sizes of the classes: the total is what is stated before the files are there.
    labels = np.sort(np.random.RandomState(seed).randint(0, 101, 8677))
    chosen = torchvision_sets.stratified_split(labels, 101, 0)
    info = torchvision_sets.Caltech101Params().info(tmp_path)
    assert (chosen.sum(), (~chosen).sum()) == (info.train, info.test)


# --- no network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "file", "folder"),
    [
        ("cifar10", torchvision_sets.Cifar10Params, "cifar-10-python.tar.gz", ""),
        ("cifar100", torchvision_sets.Cifar100Params, "cifar-100-python.tar.gz", ""),
        ("dtd", torchvision_sets.DtdParams, "dtd-r1.0.1.tar.gz", "dtd"),
        ("flowers102", torchvision_sets.Flowers102Params, "setid.mat", "flowers-102"),
        ("pets", torchvision_sets.PetsParams, "annotations.tar.gz", "oxford-iiit-pet"),
        ("caltech101", torchvision_sets.Caltech101Params, "caltech-101.zip", "caltech101"),
    ],
)
def test_without_a_network_the_error_says_what_to_put_where(name, given, file, folder, tmp_path, no_network):
    start = time.perf_counter()
    with pytest.raises(DataError) as caught:
        getattr(torchvision_sets, name)(given(), tmp_path, "train")
    assert time.perf_counter() - start < 5
    text = one_line_error(caught)
    assert text.startswith(f"{name}: cannot be downloaded or read (")
    assert file in text
    assert f"into {tmp_path / folder} " in text


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, no_network):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cifar10: cannot be downloaded"):
        torchvision_sets.cifar10(torchvision_sets.Cifar10Params(), tmp_path / "file" / "data", "train")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_ends_nothing(tmp_path, monkeypatch, capsys, number):
    """Lustre without `flock` and NFS without its lock server answer so; a lock would be waited for without an end."""

    def refuses(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuses)
    with torchvision_sets._one_at_a_time(tmp_path, "cifar10"):
        pass
    assert capsys.readouterr().out == (
        f"{tmp_path} is on a file system without locks: start several workers when cifar10 is there\n"
    )
