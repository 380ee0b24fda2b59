"""Micrographs of nuclei: those in the package, and a folder in the layout of the whole set."""

import hashlib
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from benchbench.data import benchbench_datasets
from benchbench.data.info import DataInfo
from benchbench.data.sources.nuclei import FOLDER, NucleiParams, boundary, load, rows
from benchbench.errors import DataError

README = (FOLDER / "README.md").read_text(encoding="utf-8")
FILES = ("nuclei_test.webp", "nuclei_test_instances.webp", "nuclei_train.webp", "nuclei_train_instances.webp")
# Two nuclei that touch, on a background of zeros.
NUMBERS = np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2]], np.uint16)
INSIDE = np.array([[0, 0, 0, 0, 0, 0], [0, 2, 2, 2, 2, 2], [0, 2, 1, 2, 2, 1], [0, 2, 1, 2, 2, 1]])


def write(folder, names=("a", "b"), maps=(NUMBERS, NUMBERS * 300)):
    """A folder in the layout of the whole set, whose test image is the first."""
    for kind in ("images", "instances"):
        (folder / kind).mkdir(exist_ok=True)
    for number, (name, numbers) in enumerate(zip(names, maps, strict=True)):
        pixels = np.full((*numbers.shape, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.webp", lossless=True)
        Image.fromarray(numbers).save(folder / "instances" / f"{name}.png")
    (folder / "train.txt").write_text("\n".join(names))
    (folder / "test.txt").write_text(names[0])
    return folder


class TestInThePackage:
    def test_the_test_part(self, tmp_path):
        params = NucleiParams()
        images = load(params, tmp_path, "test")
        assert images.classes == params.info(tmp_path).names == ("background", "nucleus")
        assert (images.array.shape, images.array.dtype) == ((100, 256, 256, 3), np.uint8)
        assert images.labels.tolist() == [0] * 100
        assert len(rows("test")) == 100
        numbers = [images.mask.instances(index) for index in range(100)]
        assert sum(len(np.unique(each)) - 1 for each in numbers) == 2991
        # Nuclei are bright in most images; a mosaic that was read in another order would show no such difference.
        masks = np.stack([images.mask(index) for index in range(100)])
        assert masks.dtype == np.uint8
        grey = images.array[..., 0]
        assert grey[masks == 1].mean() > 2 * grey[masks == 0].mean()
        assert np.array_equal(np.asarray(images.image(7)), images.array[7])

    def test_sizes(self, tmp_path):
        info = NucleiParams(classes=3).info(tmp_path)
        names = ("background", "interior", "boundary")
        assert info == DataInfo(3, 234, 100, names=names, task="segmentation")
        assert len(rows("train")) == 234
        assert not {*rows("train")} & {*rows("test")}

    @pytest.mark.parametrize("name", [*FILES, "nuclei.csv"])
    def test_files_are_those_of_the_readme(self, name):
        stated = re.search(rf"`{re.escape(name)}`.*`([0-9a-f]{{64}})`", README)
        assert stated
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == stated[1]

    def test_they_are_small(self):
        assert sum(file.stat().st_size for file in FOLDER.glob("nuclei*")) < 1_000_000

    @pytest.mark.parametrize("name", ["nuclei", "nuclei_boxes"])
    def test_the_key_sees_the_images_and_their_splits(self, name):
        component = next(each for each in benchbench_datasets() if each.name == name)
        files = (*FILES, "nuclei.csv")
        content = hashlib.sha256(b"".join((FOLDER / file).read_bytes() for file in files)).hexdigest()
        assert component.version
        assert content.startswith(component.version)

    def test_a_damaged_package_is_one_line(self, tmp_path, monkeypatch):
        monkeypatch.setattr("benchbench.data.sources.nuclei.FOLDER", tmp_path)
        with pytest.raises(DataError, match=r"nuclei_train\.webp of the installed package"):
            load(NucleiParams(), tmp_path, "train")
        Image.new("RGB", (256, 256)).save(tmp_path / "nuclei_train.webp")
        Image.new("RGB", (512, 256)).save(tmp_path / "nuclei_train_instances.webp")
        with pytest.raises(DataError, match="installed package is damaged"):
            load(NucleiParams(), tmp_path, "train")


class TestAFolder:
    def test_two_and_three_classes(self, tmp_path):
        write(tmp_path)
        two, three = NucleiParams(path=tmp_path), NucleiParams(path=tmp_path, classes=3)
        assert two.info(tmp_path) == DataInfo(2, 2, 1, names=("background", "nucleus"), task="segmentation")
        images = load(two, tmp_path, "train")
        assert images.array.shape == (2, 4, 6, 3)
        assert images.array[1].max() == 40
        assert np.array_equal(images.mask(0), NUMBERS > 0)
        mask = pickle.loads(pickle.dumps(load(three, tmp_path, "train").mask))  # noqa: S301 (its own bytes)
        for index in (0, 1):  # numbers above 255 among them
            assert mask(index).dtype == np.uint8
            assert np.array_equal(mask(index), INSIDE)

    def test_images_of_several_sizes_are_no_array(self, tmp_path):
        write(tmp_path, maps=(NUMBERS, NUMBERS[:3]))
        images = load(NucleiParams(path=tmp_path), tmp_path, "train")
        assert images.array is None
        assert images.mask(1).shape == images.image(1).size[::-1] == (3, 6)

    def test_what_is_wrong_is_named(self, tmp_path):
        params = NucleiParams(path=write(tmp_path))
        Image.fromarray(NUMBERS[:3]).save(tmp_path / "instances" / "b.png")
        with pytest.raises(DataError, match=r"b\.png is 6 x 3 pixels, and its image .*b\.webp 6 x 4"):
            load(params, tmp_path, "train").mask(1)
        (tmp_path / "instances" / "b.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"cannot read the mask .*b\.png \(it is damaged"):
            load(params, tmp_path, "train").mask(1)
        (tmp_path / "instances" / "b.png").unlink()
        with pytest.raises(DataError, match=r"instances/b\.png is listed but not there; complete .* train\.txt"):
            load(params, tmp_path, "train")
        (tmp_path / "train.txt").write_text("a\na\n")
        with pytest.raises(DataError, match=r"train\.txt names 'a' twice"):
            params.info(tmp_path)
        (tmp_path / "train.txt").write_text("")
        with pytest.raises(DataError, match=r"train\.txt names no image"):
            params.info(tmp_path)
        with pytest.raises(DataError, match=r"cannot read the list .*nowhere/train\.txt"):
            NucleiParams(path=tmp_path / "nowhere").info(tmp_path)


def test_the_edge_of_an_image_is_no_boundary():
    assert not boundary(np.ones((3, 3), np.uint8)).any()
    assert boundary(np.array([[1, 1, 2]])).tolist() == [[False, True, True]]
