"""The command `data`: counts, sizes, copies, unreadable files and the contact sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.objects import write_objects


def save(path: Path, seed: int, size: tuple[int, int] = (12, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def suite(tiny_suite, tmp_path) -> Path:
    """Three data sets: a folder with everything that can be wrong, the package's own, and a published one."""
    root = tmp_path / "own"
    for number in range(4):
        save(root / "train" / "cat" / f"{number}.png", number)
        save(root / "train" / "dog" / f"{number}.png", 10 + number, (20, 8))
    for label, seed in (("cat", 50), ("dog", 60)):
        save(root / "test" / label / "0.png", seed)
    sources = {"own": {"imagefolder": {"path": "own"}}, "ours": "cifar10_subset", "published": "cifar100"}
    return tiny_suite(tmp_path, data={label: {"source": source} for label, source in sources.items()})


def spoil(root: Path) -> None:
    Image.open(root / "train" / "cat" / "0.png").save(root / "test" / "cat" / "copy.bmp")  # other bytes, same pixels
    (root / "train" / "dog" / "again.png").write_bytes((root / "train" / "cat" / "1.png").read_bytes())
    whole = (root / "train" / "dog" / "3.png").read_bytes()
    (root / "train" / "dog" / "3.png").write_bytes(whole[:-40])
    (root / "train" / "dog" / "empty.jpg").write_bytes(b"")
    (root / "train" / "dog" / "notes.txt").write_text("no image")


def test_sets_side_by_side(cli, suite, tmp_path):
    done = cli("data", suite)
    assert (done.code, done.err) == (0, "")
    own, ours, published = done.out.strip().split("\n\n")
    assert own.splitlines() == [
        "own (imagefolder): 2 classes, 8 images to train on, 2 to test on",
        "  class       train        test",
        "  cat             4           1",
        "  dog             4           1",
        "  sizes: 12 x 8 to 20 x 8, median 12 x 8; 2 different ones",
        "  no image is there twice, by their pixels",
    ]
    assert ours.startswith("ours (cifar10_subset): 10 classes, 1,000 images to train on, 1,000 to test on\n")
    assert published.splitlines() == [
        "published (cifar100): 100 classes, 50,000 images to train on, 10,000 to test on",
        "  a published set: its images are not looked at",
    ]


def test_what_is_wrong_is_listed_and_is_an_exit_code(cli, suite, tmp_path):
    spoil(tmp_path / "own")
    done = cli("data", suite)
    assert done.code == 1
    own = done.out.split("\n\n")[0].replace(str(tmp_path) + "/own/", "")
    assert "  note: train/: 1 file is left out: 1 .txt (dog/notes.txt)\n" in own
    assert "  cannot be read: 2\n    cannot read the image train/dog/3.png (OSError" in own
    assert "    cannot read the image train/dog/empty.jpg (it is empty, of 0 bytes)\n" in own
    copy = "train/cat/0.png [train, cat] = test/cat/copy.bmp [test, cat]"
    assert f"test images that are also trained on or chosen by: 1\n    {copy}" in own
    twice = "1\n    train/cat/1.png [train, cat] = train/dog/again.png [train, dog]"
    assert f"images that are there several times in train: {twice}" in own
    assert f"images with several labels: {twice}" in own


def test_large_sets_are_compared_by_bytes(cli, suite, tmp_path, monkeypatch):
    monkeypatch.setattr("benchbench.data.survey.FEW_BYTES", 100)
    spoil(tmp_path / "own")
    answer = json.loads(cli("data", suite, "--json").out)["own"]
    assert answer["compared"] == "bytes"
    assert [sorted(each["label"] for each in group) for group in answer["copies"]] == [["cat", "dog"]]
    assert [Path(each["name"]).name for each in answer["unreadable"]] == ["empty.jpg"]
    decoded = json.loads(cli("data", suite, "--json", "--decode").out)["own"]
    assert (decoded["compared"], len(decoded["copies"]), len(decoded["unreadable"])) == ("pixels", 2, 2)
    assert decoded["classes"] == [
        {"name": "cat", "train": 4, "validation": 0, "test": 2},
        {"name": "dog", "train": 6, "validation": 0, "test": 1},
    ]
    assert {"width": 20, "height": 8, "images": 3} in decoded["sizes"]


def test_many_classes_and_drawn_parts(cli, tiny_suite, tmp_path):
    for number in range(34):
        for image in range(3):
            save(tmp_path / "own" / f"c{number}" / f"{image}.png", 10 * number + image)
    source = {"imagefolder": {"path": "own", "split": {"test": 0.3, "validation": 0.3}}}
    suite = tiny_suite(tmp_path, data={"own": {"source": source}})
    done = cli("data", suite)
    assert "34 images to train on, 34 to validate on, 34 to test on" in done.out
    assert "  ... and 4 more classes (--all)\n" in done.out
    assert "c33" in cli("data", suite, "--all").out


def test_a_segmentation(cli, tiny_suite, tmp_path, monkeypatch):
    """Images are counted by the classes that their masks show, and masks are read."""
    own = tmp_path / "own"
    for number in range(5):
        save(own / "images" / f"{number}.png", number)
        (own / "masks").mkdir(exist_ok=True)
        values = np.full((8, 12), 255 if number == 4 else 0, np.uint8)
        values[:number] = 1
        Image.fromarray(values).save(own / "masks" / f"{number}.png")
    (own / "images" / "1.png").write_bytes((own / "images" / "0.png").read_bytes())
    source = {"maskfolder": {"path": "own", "classes": ["ground", "tree", "house"], "split": {"test": 0.4}}}
    suite = tiny_suite(tmp_path, data={"own": {"source": source}})
    done = cli("data", suite, "--sheet", tmp_path / "sheet.png")
    lines = done.out.replace(f"{own}/images/", "").splitlines()
    assert lines[0] == "own (maskfolder): 3 classes of pixels, 3 images to train on, 2 to test on"
    rows = {line.split()[0]: [int(count) for count in line.split()[1:]] for line in lines[2:5]}
    assert lines[1].split() == ["images", "with", "train", "test"]
    assert {name: sum(counts) for name, counts in rows.items()} == {"ground": 4, "tree": 4, "house": 0}
    assert done.code == 1
    place = lines.index("  images with several masks: 1")
    copies = lines[place + 1].split()
    assert sorted(copies[::3]) == ["0.png", "1.png"]
    assert {*copies[1::3]} <= {"[train]", "[test]"}  # without a label
    monkeypatch.setattr("benchbench.data.sources.maskfolder.DECODED", 1)  # of each part the first, by the plan
    whole = (own / "masks" / "4.png").read_bytes()
    (own / "masks" / "4.png").write_bytes(whole[:50])
    answer = json.loads(cli("data", suite, "--json").out)["own"]
    assert answer["task"] == "segmentation"
    assert [Path(each["name"]).name for each in answer["unreadable"]] == ["4.png"]
    assert "cannot read the mask" in answer["unreadable"][0]["problem"]
    monkeypatch.setattr("benchbench.data.survey.FEW_BYTES", 10)  # large sets are not decoded
    done = cli("data", suite)
    assert "images with" not in done.out
    assert "3 images to train on, 2 to test on" in done.out


def test_a_detection(cli, tiny_suite, tmp_path, monkeypatch):
    """Boxes are counted by class, and are read; larger images of the sheet have them."""
    own = write_objects(tmp_path / "own")
    suite = tiny_suite(
        tmp_path, data={"own": {"source": {"coco": {"train": "own/train.json", "test": "own/test.json"}}}}
    )
    done = cli("data", suite, "--sheet", tmp_path / "sheet.png")
    lines = done.out.splitlines()
    assert lines[0] == "own (coco): 2 classes of boxes, 12 images to train on, 4 to test on"
    assert lines[1].split() == ["boxes", "of", "train", "test"]
    assert np.sum([[int(count) for count in line.split()[1:]] for line in lines[2:4]], 0).tolist() == [11, 3]
    assert (done.code, done.err) == (0, f"written: {tmp_path / 'sheet.png'}\n")
    (own / "test" / "000.png").write_bytes((own / "train" / "001.png").read_bytes())
    monkeypatch.setattr("benchbench.data.sources.own_boxes.SAMPLE", 1)  # of each part the first, by the plan
    Image.new("RGB", (31, 32)).save(own / "train" / "002.png")
    whole = (own / "test" / "003.png").read_bytes()
    (own / "test" / "003.png").write_bytes(whole[:-40])
    answer = json.loads(cli("data", suite, "--json").out)["own"]
    problems = [each["problem"] for each in answer["unreadable"]]
    assert "train.json has boxes of an image of 32 x 32 pixels, and" in problems[0]
    assert "test/003.png" in problems[1]
    done = cli("data", suite)
    assert done.code == 1
    assert "  images with several sets of boxes: 1\n" in done.out


def test_contact_sheet(cli, suite, tmp_path):
    spoil(tmp_path / "own")
    done = cli("data", suite, "--sheet", tmp_path / "sheet.png")
    assert done.err == f"written: {tmp_path / 'sheet.png'}\n"
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
        assert sheet.height > 1200  # twelve classes of the two sets that are at hand
        assert len(sheet.convert("RGB").getcolors(maxcolors=10**7)) > 1000


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--sheet", "a.txt"), "--sheet a.txt: give a file that ends in .png, .jpg"),
        (("--sheet", "none/a.png"), "--sheet none/a.png: there is no folder none"),
        (
            ("--set", "data={published: {source: cifar100}}", "--sheet", "a.png"),
            "needs images that are on this machine",
        ),
        (("--set", "data.own.source.imagefolder.path=nowhere"), "suite.yaml:7: imagefolder: "),
        (("--set", "data.own.source={imagefodler: {path: own}}"), "did you mean 'imagefolder'?"),
    ],
)
def test_bad_input(cli, suite, tmp_path, monkeypatch, arguments, problem):
    monkeypatch.chdir(tmp_path)
    done = cli("data", suite, *arguments)
    assert done.code == 2
    assert problem in done.err
    assert done.err.count("\n") == 1
