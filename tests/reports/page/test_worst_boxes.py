"""Sheets of a detection: the images with the lowest F1, with the boxes that are there and those that were found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchbench.errors import StoreError
from benchbench.reports import sheet_request
from benchbench.reports.answer_metrics import image_boxes
from benchbench.reports.page import write_page
from benchbench.reports.page.data import page_data
from benchbench.reports.report import make_report
from benchbench.statistics.detection import average_precisions, match, mean_average_precision
from benchbench.store import read_boxes, write_boxes

WIDTH, HEIGHT, SIZE = 320, 160, 32  # of an image, and of the network's
CLASSES = ("<b>cat</b>", "dog")
SCALE = SIZE / WIDTH
# Left, top, width, height, category and whether it is a crowd, by image.
OBJECTS = [
    [(0, 0, 100, 100, 1, 0), (200, 40, 80, 60, 2, 0)],
    [(40, 20, 60, 60, 2, 0), (200, 20, 50, 50, 1, 1)],
    [(10, 10, 100, 100, 1, 0)],
    [],
]


def write_images(folder: Path) -> Path:
    for split, blue in (("train", 0), ("test", 60)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(len(OBJECTS)):
            Image.new("RGB", (WIDTH, HEIGHT), (40 * number, 90, blue)).save(folder / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{split}/{number}.png", "width": WIDTH, "height": HEIGHT})
            for *box, category, crowd in OBJECTS[number]:
                entry = {"image_id": number, "bbox": box, "category_id": category, "iscrowd": crowd}
                annotations.append({"id": len(annotations), **entry})
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(whole))
    return folder


def found_boxes() -> np.ndarray:
    """Rows as a test stores them: the first image has one box right and one of another class, the second is right."""
    rows = np.zeros((len(OBJECTS), 5, 7), np.float32)
    for image, objects in zip(rows, OBJECTS, strict=True):
        for row, (left, top, width, height, category, crowd) in zip(image[3:], objects, strict=False):
            corners = np.array([left, top, left + width, top + height]) * SCALE
            row[:] = [*corners, category - 1, 0, 3 if crowd else 2]
    rows[0, 0] = [0, 0, 9, 10, 0, 0.875, 1]
    rows[0, 1] = [20, 4, 28, 10, 0, 0.75, 1]
    rows[1, 0] = [*rows[1, 3, :4], 1, 0.75, 1]
    rows[2, 0] = [1, 1, 2, 2, 1, 0.125, 1]  # of too low a score to count
    return rows


@pytest.fixture
def lab(make_lab, tmp_path):
    """A lab whose first cell is a tested detection."""
    folder = write_images(tmp_path / "images")
    data = {"pets": {"source": {"coco": {"train": str(folder / "train.json"), "test": str(folder / "test.json")}}}}
    student = {"small": {"model": "cifar/resnet8", "head": {"fcos": {"width": 32, "finest": 2}}}}
    made = make_lab(data=data, arms={"scratch": {"method": "scratch"}}, students=student, teachers=None, seeds=[0])
    key = made.cells("scratch")[0].stage
    made.finish(key)
    store_boxes(made, found_boxes())
    made.change(key, "data", names=CLASSES, test=len(OBJECTS))
    return made


def store_boxes(lab, rows: np.ndarray) -> None:
    """Leaves boxes as those of the test, with their score in the record."""
    key = lab.cells("scratch")[0].stage
    write_boxes(lab.folder(key).predictions, rows)
    score = mean_average_precision(average_precisions(match(rows.astype(np.float32))))
    lab.change(key, "metrics", score="map", test_accuracy=score, test_count=len(OBJECTS), test_correct=None)


def sheet_of(lab, tmp_path: Path, count: int = 24) -> tuple[dict, dict]:
    report = make_report(lab.plan, lab.store, "command")
    vars(report)["table_by_name"] = {}
    data = page_data(report, sheets=sheet_request.SheetRequest(count, tmp_path / "data"))
    return data["stages"][lab.cells("scratch")[0].stage[:16]], data


def test_the_lowest_f1_comes_first_with_boxes_in_pixels_of_the_picture(lab, tmp_path):
    stage, data = sheet_of(lab, tmp_path)
    assert "confusion" not in stage
    sheet = stage["wrong"]
    assert sheet["note"] == (
        "2 of 4 test images, the lowest F1 first (at an overlap of 0.5), with boxes of a score of 0.75 or more, where "
        "F1 is highest over all test images."
    )
    assert sheet["colours"] == [["<b>cat</b>", "#ff8c00"], ["dog", "#33c7ff"]]
    # The second image is right, and the last one has nothing to find.
    first, second = sheet["boxes"]
    assert first[1:5] == [160, 80, 2, 0]
    assert second[1:5] == [160, 80, 0, 0.5]
    assert first[5:] == [[[5, 5, 55, 55, 0]], []]
    there, found = second[5:]
    assert there == [[0, 0, 50, 50, 0], [100, 20, 140, 50, 1]]  # half of the pixels of the file
    assert found == [[0, 0, 45, 50, 0, 0.875], [100, 20, 140, 50, 0, 0.75]]
    assert len(data["pictures"]) == 2
    assert data["measure"] == "mAP"
    assert data["left_out"][0].startswith("The worst test images are shown of 1 of 1 finished runs")


def test_boxes_that_count_nowhere_have_no_class(lab, tmp_path):
    predictions = lab.folder(lab.cells("scratch")[0].stage).predictions
    rows = read_boxes(predictions)
    rows[1, 0, 4] = 0
    store_boxes(lab, rows)
    sheet = sheet_of(lab, tmp_path)[0]["wrong"]
    (boxes,) = [entry[5] for entry in sheet["boxes"] if entry[3] == 1]
    assert boxes == [[20, 10, 50, 40, 1], [100, 10, 125, 35, None]]


def test_other_boxes_than_those_that_were_tested(lab, tmp_path):
    path = tmp_path / "images" / "test.json"
    whole = json.loads(path.read_text())
    whole["annotations"][0]["bbox"][2] += 8
    path.write_text(json.dumps(whole))
    stage, data = sheet_of(lab, tmp_path)
    assert stage["wrong"] == {"note": "Not shown: the boxes of the test images are not those that were tested."}
    assert data["pictures"] == []


@pytest.mark.parametrize(("column", "value"), [(4, len(CLASSES)), (4, 0.5), (2, np.nan)])
def test_rows_that_cannot_be_of_the_record(lab, column, value):
    folder = lab.folder(lab.cells("scratch")[0].stage)
    rows = found_boxes()
    rows[0, 0, column] = value
    write_boxes(folder.predictions, rows)
    with pytest.raises(StoreError, match=r"predictions.npz is not of the record beside it; delete "):
        image_boxes(folder, folder.done())


@pytest.mark.browser
def test_is_read_aloud_and_fits_a_phone(lab, open_page, screen, tmp_path):
    report = make_report(lab.plan, lab.store, "command")
    page = open_page(write_page(report, tmp_path / "out", sheet_request.SheetRequest(2, tmp_path)))
    page.all("#cells tbody button")[0].send_keys("\ue007")  # enter
    summary = "[...document.querySelectorAll('dialog summary')].find(each => each.innerText === 'Worst test images')"
    page.run(f"{summary}.focus()")
    page.browser.switch_to.active_element.send_keys("\ue007")
    page.wait("document.querySelectorAll('.sheet.boxes svg').length === 4")
    names = [each.accessible_name for each in page.all(".sheet.boxes svg")]
    assert names[2:] == ["Test image 0, F1 50.0 %: its boxes, 2", "the boxes that were found, 2"]
    titles = page.run("return [...document.querySelectorAll('.sheet.boxes svg title')].map(each => each.textContent)")
    assert titles[-2:] == ["<b>cat</b>, score 0.88", "<b>cat</b>, score 0.75"]
    assert [each.text for each in page.all(".swatches .swatch")] == list(CLASSES)
    screen(360, 740, scheme="dark")
    assert page.sideways() == 0
    assert page.violations() == []
