"""Small data in the layouts of published segmentations; only official sizes are patched."""

import hashlib
import tarfile

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Cityscapes, OxfordIIITPet
from torchvision.datasets.voc import DATASET_YEAR_DICT

from benchbench.data.images import IGNORED
from benchbench.data.info import DataInfo
from benchbench.data.sources import segmentation_sets as sets
from benchbench.errors import DataError


def sized(base, train, test, **given):
    """Parameters whose official sizes are those of the small data."""

    class Small(base):
        def info(self, root):
            return DataInfo(2, train, test)

    return Small(**given)


def write_mask(file, *values):
    """A mask of 8 x 6 pixels, a column of each value; with a palette, as VOC's and Oxford-IIIT Pet's are stored."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.tile(np.resize(np.array(values, np.uint8), 8), (6, 1)))
    image.putpalette([(17 * value) % 256 for value in range(768)])
    image.save(file)


def md5(file):
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


# --- Pascal VOC -------------------------------------------------------------------------------------------------------


def write_voc(root, save_image):
    folder = root / "VOCdevkit" / "VOC2012"
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
    for part, names in lists.items():
        (folder / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save_image(folder / "JPEGImages" / f"{name}.jpg")
            write_mask(folder / "SegmentationClass" / f"{name}.png", 0, 1, 20, 255)
    return folder


def test_voc(tmp_path, save_image, no_network):
    folder = write_voc(tmp_path, save_image)
    params = sized(sets.VocSegmentationParams, 2, 1)
    train, test = (sets.voc_segmentation(params, tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (2, 1)
    assert train.labels.tolist() == [0, 0]
    assert len(train.classes) == 21
    assert (train.classes[0], train.classes[20]) == ("background", "tvmonitor")
    assert train.image(0).size == (8, 6)
    assert train.mask(0)[0].tolist() == [0, 1, 20, IGNORED] * 2
    write_mask(folder / "SegmentationClass" / "2007_000033.png", 21)
    with pytest.raises(
        DataError, match=r"2007_000033\.png holds the value 21, of no class; the file is not of the pub"
    ):
        test.mask(0)
    with pytest.raises(DataError, match="has 2 images, not 1464; the files were changed or the download was cut short"):
        sets.voc_segmentation(sets.VocSegmentationParams(), tmp_path, "train")
    (folder / "SegmentationClass" / "2007_000033.png").unlink()
    with pytest.raises(DataError, match=r"2007_000033\.png is listed but not there; .* delete .*VOC2012 and run again"):
        sets.voc_segmentation(params, tmp_path, "test")


def test_an_archive_of_voc_put_there_by_hand_is_unpacked(tmp_path, save_image, monkeypatch, no_network):
    write_voc(tmp_path / "made", save_image)
    archive = tmp_path / "data" / "VOCtrainval_11-May-2012.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path / "made" / "VOCdevkit", "VOCdevkit")
    monkeypatch.setitem(DATASET_YEAR_DICT["2012"], "md5", md5(archive))
    images = sets.voc_segmentation(sized(sets.VocSegmentationParams, 2, 1), tmp_path / "data", "train")
    assert images.mask(1).shape == (6, 8)


@pytest.mark.parametrize(
    ("load", "params", "files"),
    [
        (sets.voc_segmentation, sets.VocSegmentationParams(), r"put VOCtrainval_11-May-2012\.tar, or .* VOCdevkit"),
        (sets.pets_segmentation, sets.PetsSegmentationParams(), r"put images\.tar\.gz and annotations\.tar\.gz, or"),
    ],
)
def test_without_a_network_one_line_says_what_to_put_where(tmp_path, no_network, load, params, files):
    with pytest.raises(DataError, match=rf"_segmentation: cannot be downloaded or read \(.*\); {files}") as caught:
        load(params, tmp_path, "train")
    assert "\n" not in str(caught.value)


# --- Oxford-IIIT Pet --------------------------------------------------------------------------------------------------


def test_pets(tmp_path, save_image, monkeypatch, no_network):
    folder = tmp_path / "oxford-iiit-pet"
    lists = {"trainval": ["Abyssinian_1", "beagle_2"], "test": ["beagle_1"]}
    for part, names in lists.items():
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        (folder / "annotations" / f"{part}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
        for name in names:
            save_image(folder / "images" / f"{name}.jpg")
            write_mask(folder / "annotations" / "trimaps" / f"{name}.png", 1, 2, 3)
    params = sized(sets.PetsSegmentationParams, 2, 1)
    train, test = (sets.pets_segmentation(params, tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test), train.classes) == (2, 1, ("background", "pet"))
    assert train.mask(1)[0, :4].tolist() == [1, 0, IGNORED, 1]
    assert test.image(0).size == (8, 6)
    assert "segmentation" in OxfordIIITPet._VALID_TARGET_TYPES
    with pytest.raises(DataError, match="has 1 images, not 3669"):
        sets.pets_segmentation(sets.PetsSegmentationParams(), tmp_path, "test")


# --- Cityscapes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def streets(tmp_path, save_image):
    """Two images to train on and one to validate on, with files of other kinds beside."""
    folder = tmp_path / "cityscapes"
    for part, city, number in (("train", "ulm", 1), ("train", "aachen", 0), ("val", "lindau", 0)):
        name = f"{city}_00000{number}_000019"
        save_image(folder / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", number)
        write_mask(folder / "gtFine" / part / city / f"{name}_gtFine_labelIds.png", 7, 33, 4, 0, 26, 9, 29, 1)
        (folder / "gtFine" / part / city / f"{name}_gtFine_polygons.json").write_text("{}")
    (folder / "leftImg8bit" / "train" / ".DS_Store").write_text("")
    return folder


@pytest.mark.parametrize("named", [True, False])
def test_cityscapes(streets, tmp_path, named):
    params = sets.CityscapesParams(path=streets) if named else sets.CityscapesParams()
    assert params.place(tmp_path) == (None if named else streets)
    info = params.info(tmp_path)
    assert (info.classes, info.train, info.test, info.note, info.task) == (19, 2, 1, "", "segmentation")
    train = sets.cityscapes(params, tmp_path, "train")
    assert train.classes == info.names
    assert [file.rsplit("/", 1)[1][:6] for file in train.image.files] == ["aachen", "ulm_00"]
    # Road, bicycle, static, unlabelled, car, parking, caravan, the car itself.
    ignored = IGNORED
    assert train.mask(0)[0].tolist() == [0, 18, ignored, ignored, 13, ignored, ignored, ignored]
    assert len(sets.cityscapes(params, tmp_path, "test")) == 1


def test_names_of_cityscapes_are_those_of_its_evaluation():
    numbered = {each.train_id: each.name for each in Cityscapes.classes if 0 <= each.train_id < IGNORED}
    assert tuple(numbered[number] for number in range(19)) == sets.CITYSCAPES_NAMES
    assert len(sets.VOC_NAMES) == len(set(sets.VOC_NAMES)) == 21


def test_cityscapes_that_is_absent_or_incomplete(streets, tmp_path):
    elsewhere = sets.CityscapesParams(path=tmp_path / "none")
    info = elsewhere.info(tmp_path)
    assert (info.train, info.test) == (2975, 500)
    assert "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip" in info.note
    with pytest.raises(DataError, match=r"cityscapes: .*none is not there; get leftImg8bit_trainvaltest\.zip"):
        sets.cityscapes(elsewhere, tmp_path, "train")
    params = sets.CityscapesParams(path=streets)
    next(streets.glob("gtFine/val/*/*_labelIds.png")).unlink()
    with pytest.raises(DataError, match=r"labelIds\.png is listed but not there; unpack gtFine_trainvaltest\.zip into"):
        sets.cityscapes(params, tmp_path, "test")
    next(streets.glob("leftImg8bit/val/*/*.png")).unlink()
    with pytest.raises(DataError, match=r"leftImg8bit/val holds no image; unpack leftImg8bit_trainvaltest\.zip"):
        params.info(tmp_path)
