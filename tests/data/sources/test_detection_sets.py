"""Small data in the layouts of published detections; only official sizes are patched."""

import json
import tarfile

import pytest
from torchvision.datasets.voc import DATASET_YEAR_DICT

from benchbench.data.images import GROUP, HARD
from benchbench.data.info import DataInfo
from benchbench.data.sources import detection_sets as sets
from benchbench.errors import DataError
from tests.data.sources.test_segmentation_sets import md5
from tests.data.sources.test_voc import xml


def sized(base, train, test, **given):
    """Parameters whose official sizes are those of the small data."""

    class Small(base):
        def info(self, root):
            return DataInfo(2, train, test)

    return Small(**given)


def write_voc(root, save_image, year="2007", lists=None):
    folder = root / "VOCdevkit" / f"VOC{year}"
    for name in ("Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part, names in (lists or {"trainval": ["000005", "000007"], "test": ["000001"]}).items():
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save_image(folder / "JPEGImages" / f"{name}.jpg")
            objects = ("dog", (1, 2, 8, 6)), ("aeroplane", (2, 2, 3, 4), True)
            (folder / "Annotations" / f"{name}.xml").write_text(xml(*objects))
    return folder


def test_voc(tmp_path, save_image, no_network):
    folder = write_voc(tmp_path, save_image)
    write_voc(tmp_path, save_image, "2012", {"trainval": ["2008_000002"], "train": ["2008_000002"], "val": ["2008_3"]})
    params = sized(sets.VocDetectionParams, 2, 1)
    train, test = (sets.voc_detection(params, tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test), train.array) == (2, 1, None)
    assert (train.classes[0], train.classes[19], len(train.classes)) == ("aeroplane", "tvmonitor", 20)
    boxes = train.boxes(1)
    assert boxes.corners.tolist() == [[0, 1, 8, 6], [1, 1, 3, 4]]
    assert (boxes.classes.tolist(), boxes.ignored.tolist()) == ([11, 0], [0, HARD])
    assert train.image(1).size == (8, 6)
    assert len(sets.voc_detection(sized(sets.VocDetectionParams, 1, 1, years="2012"), tmp_path, "test")) == 1
    both = sets.voc_detection(sized(sets.VocDetectionParams, 3, 1, years="2007+2012"), tmp_path, "train")
    assert [file.rsplit("/", 1)[1] for file in both.image.files] == ["000005.jpg", "000007.jpg", "2008_000002.jpg"]
    with pytest.raises(DataError, match="has 2 images, not 5011; the files were changed or the download was cut short"):
        sets.voc_detection(sets.VocDetectionParams(), tmp_path, "train")
    (folder / "Annotations" / "000001.xml").write_text(xml(("cow", (1, 1, 2, 2)), ("sheeep", (1, 1, 2, 2))))
    problem = r"000001\.xml:6: the class 'sheeep' is none of the published ones; did you mean 'sheep'\?"
    with pytest.raises(DataError, match=problem):
        sets.voc_detection(params, tmp_path, "test")
    (folder / "JPEGImages" / "000005.jpg").unlink()
    with pytest.raises(DataError, match=r"000005\.jpg is listed but not there; .* delete .*VOC2007 and run again"):
        sets.voc_detection(params, tmp_path, "train")


def test_the_second_archive_of_2007_is_unpacked_beside_the_first(tmp_path, save_image, monkeypatch, no_network):
    write_voc(tmp_path / "made", save_image, lists={"test": ["000001"]})
    write_voc(tmp_path / "data", save_image, lists={"trainval": ["000005"]})
    archive = tmp_path / "data" / "VOCtest_06-Nov-2007.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path / "made" / "VOCdevkit", "VOCdevkit")
    monkeypatch.setitem(DATASET_YEAR_DICT["2007-test"], "md5", md5(archive))
    images = sets.voc_detection(sized(sets.VocDetectionParams, 1, 1), tmp_path / "data", "test")
    assert len(images.boxes(0).classes) == 2


@pytest.mark.parametrize(
    ("years", "split", "archive"),
    [
        ("2007", "train", "VOCtrainval_06-Nov-2007"),
        ("2007", "test", "VOCtest_06-Nov"),
        ("2012", "test", "VOCtrainval_11"),
    ],
)
def test_without_a_network_one_line_says_what_to_put_where(tmp_path, no_network, years, split, archive):
    with pytest.raises(DataError, match=rf"cannot be downloaded or read \(.*\); put {archive}.* VOCdevkit") as caught:
        sets.voc_detection(sets.VocDetectionParams(years=years), tmp_path, split)
    assert "\n" not in str(caught.value)


@pytest.fixture
def coco(tmp_path, save_image):
    """An image to train on and two to validate on; all 80 categories, whose ids have gaps."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    categories = [{"id": 2 * number + 1, "name": name} for number, name in enumerate(sets.COCO_NAMES)]
    for part, names in (("train2017", ["000000000009"]), ("val2017", ["000000000139", "000000000025"])):
        images = [{"id": int(name), "file_name": f"{name}.jpg", "width": 8, "height": 6} for name in names]
        each = {"image_id": int(names[0]), "category_id": 159, "segmentation": {"counts": [1]}, "iscrowd": 1, "id": 1}
        content = {"images": images, "annotations": [{**each, "bbox": [1, 2, 3.5, 4]}], "categories": categories[::-1]}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
        for name in names:
            save_image(folder / part / f"{name}.jpg")
    return folder


@pytest.mark.parametrize("named", [True, False])
def test_coco(coco, tmp_path, named):
    params = sized(sets.CocoDetectionParams, 1, 2, **({"path": coco} if named else {}))
    assert params.place(tmp_path) == (None if named else coco)
    train, test = (sets.coco_detection(params, tmp_path, split) for split in ("train", "test"))
    assert train.classes == sets.COCO_NAMES
    boxes = train.boxes(0)
    assert (boxes.corners.tolist(), boxes.classes.tolist(), boxes.ignored.tolist()) == ([[1, 2, 4.5, 6]], [79], [GROUP])
    assert [len(test.boxes(index).classes) for index in range(2)] == [0, 1]


def test_names_of_coco():
    assert len(set(sets.COCO_NAMES)) == 80
    numbered = dict(enumerate(sets.COCO_NAMES))
    assert (numbered[0], numbered[11], numbered[39], numbered[79]) == ("person", "stop sign", "bottle", "toothbrush")


def test_coco_that_is_absent_or_incomplete(coco, tmp_path):
    elsewhere = sets.CocoDetectionParams(path=tmp_path / "none")
    info = elsewhere.info(tmp_path)
    assert (info.classes, info.train, info.test, info.task) == (80, 118287, 5000, "detection")
    assert "get train2017.zip, val2017.zip and annotations_trainval2017.zip" in info.note
    with pytest.raises(DataError, match=r"coco_detection: .*none is not there; get train2017\.zip"):
        sets.coco_detection(elsewhere, tmp_path, "train")
    assert sets.CocoDetectionParams().info(tmp_path).note == ""
    with pytest.raises(DataError, match="has 1 images, not 118287"):
        sets.coco_detection(sets.CocoDetectionParams(), tmp_path, "train")
    params = sized(sets.CocoDetectionParams, 1, 2)
    (coco / "val2017" / "000000000025.jpg").unlink()
    with pytest.raises(DataError, match=r"025\.jpg is listed but not there; unpack val2017\.zip into"):
        sets.coco_detection(params, tmp_path, "test")
    (coco / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DataError, match=r"val2017\.json is not there; unpack annotations_trainval2017\.zip into"):
        sets.coco_detection(params, tmp_path, "test")
