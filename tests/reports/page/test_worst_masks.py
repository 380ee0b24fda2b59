"""Sheets of a segmentation: the images with the lowest IoU, by a network that runs again on them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch.nn import functional as F

from benchbench.models.build import build_backbone
from benchbench.reports import sheet_request
from benchbench.reports.page import write_page
from benchbench.reports.page.data import page_data
from benchbench.reports.page.sheets import lowest
from benchbench.reports.report import make_report
from benchbench.specs.stages import TrainingSpec
from benchbench.statistics.masks import IGNORED
from benchbench.statistics.segmentation import mean_iou
from benchbench.store import file_sha256, write_confusions
from tests.segments import CLASSES, arrays, write_squares

COUNT, SIZE = 5, 32
ORANGE = (255, 140, 0)  # of the second class


@pytest.fixture
def lab(make_lab, tmp_path):
    """A lab whose first cell is a tested segmentation of squares."""
    source = {"maskfolder": {"path": str(write_squares(tmp_path / "squares", 4, COUNT)), "classes": list(CLASSES)}}
    arms, student = {"scratch": {"method": "scratch"}}, {"small": {"model": "cifar/resnet8"}}
    made = make_lab(data={"squares": {"source": source}}, arms=arms, students=student, teachers=None, seeds=[0, 1, 2])
    train(made, made.cells("scratch")[0].stage)
    return made


@torch.no_grad()
def train(lab, key: str) -> None:
    """Finishes a cell: random weights, and what they make of the test images."""
    stage, folder = lab.plan.stages[key], lab.folder(key)
    assert isinstance(stage.spec, TrainingSpec)
    model = build_backbone(stage.spec.model, "student", lab.plan.registry, len(CLASSES)).eval()
    logits = model(tensors()).logits
    model.head.classifier.bias -= logits.mean((0, 2, 3))  # each class is somewhere
    lab.finish(key)
    safetensors.torch.save_file(model.state_dict(), folder.weights)
    folder.write_spec(stage.spec)
    confusions = np.array([confusion(mask, answer) for mask, answer in zip(masks(), answers(model), strict=True)])
    write_confusions(folder.predictions, confusions)
    lab.change(key, "metrics", score="miou", test_accuracy=mean_iou(confusions.sum(0)), test_count=COUNT)
    lab.change(key, "data", names=CLASSES, test=COUNT)
    record = lab.record(key)
    lab.write(key, record.model_copy(update={"weights_sha256": file_sha256(folder.weights)}))


def tensors() -> torch.Tensor:
    """The test images at the size of the recipe."""
    images = torch.from_numpy(arrays(COUNT, len("test"))[0]).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def masks() -> np.ndarray:
    return arrays(COUNT, len("test"))[1].repeat(2, 1).repeat(2, 2)


@torch.no_grad()
def answers(model) -> np.ndarray:
    logits = model(tensors()).logits
    return F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False).argmax(1).numpy()


def confusion(mask: np.ndarray, answer: np.ndarray) -> np.ndarray:
    found = np.zeros((2, 2), np.int64)
    for label, top in zip(mask.ravel(), answer.ravel(), strict=True):
        if label != IGNORED:
            found[label, top] += 1
    return found


def sheet_of(lab, tmp_path: Path, count: int = 24) -> tuple[dict, dict]:
    report = make_report(lab.plan, lab.store, "command")
    vars(report)["table_by_name"] = {}
    data = page_data(report, sheets=sheet_request.SheetRequest(count, tmp_path / "data"))
    return data["stages"][lab.cells("scratch")[0].stage[:16]]["wrong"], data


def test_the_lowest_iou_comes_first_with_mask_and_prediction(lab, tmp_path):
    sheet, data = sheet_of(lab, tmp_path, count=3)
    folder = lab.folder(lab.cells("scratch")[0].stage)
    spec = folder.read_spec()
    model = build_backbone(spec.model, "student", lab.plan.registry, len(CLASSES)).eval()
    model.load_state_dict(safetensors.torch.load_file(folder.weights))
    found = answers(model)
    ious = [mean_iou(confusion(mask, answer)) for mask, answer in zip(masks(), found, strict=True)]
    order = np.argsort(ious)[:3].tolist()
    assert [row[3] for row in sheet["masks"]] == order
    assert [row[4] for row in sheet["masks"]] == pytest.approx([ious[index] for index in order], abs=1e-4)
    assert sheet["note"] == "3 of 5 test images, the lowest mean IoU first; the network ran again on them."
    assert sheet["colours"] == [["background", "#283250"], ["square", "#ff8c00"]]
    assert len(data["pictures"]) == 9
    small = np.arange(1, SIZE, 2)  # of each 2 x 2 pixels of the network's image one lies on a pixel of the picture
    for image, mask, answer, index, _ in sheet["masks"]:
        whole = pixels(data["pictures"][image])
        np.testing.assert_allclose(whole.mean(), arrays(COUNT, len("test"))[0][index].mean(), atol=4)
        truth, predicted = (is_square(whole, pixels(data["pictures"][place])) for place in (mask, answer))
        np.testing.assert_array_equal(truth[1:], (masks()[index] == 1)[small][1:, small])
        np.testing.assert_array_equal(predicted, found[index][small][:, small] == 1)
    assert data["measure"] == "mIoU"
    assert data["left_out"][0].startswith("The worst test images are shown of 1 of 1 finished runs")


def pixels(uri: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(float)


def is_square(image: np.ndarray, laid: np.ndarray) -> np.ndarray:
    """True for the pixels whose colour is more that of the second class than of the first."""
    colours = [0.55 * np.array(each) + 0.45 * image for each in ((40, 50, 80), ORANGE)]
    first, second = (np.abs(laid - each).sum(-1) for each in colours)
    return second < first


def spoil_weights(lab, tmp_path: Path) -> None:
    with lab.folder(lab.cells("scratch")[0].stage).weights.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"!")


def other_masks(lab, tmp_path: Path) -> None:
    for path in (tmp_path / "squares" / "test" / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * 0).save(path)


def fewer_images(lab, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "squares" / "test" / kind / "000.png").unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (spoil_weights, "is missing or damaged; delete "),
        (other_masks, "the masks of the test images are not those that were tested."),
        (fewer_images, "there are 4 test images now, and 5 were tested."),
    ],
)
def test_what_cannot_be_shown_has_a_reason(lab, tmp_path, change, reason):
    change(lab, tmp_path)
    sheet, data = sheet_of(lab, tmp_path)
    assert sheet["note"].startswith("Not shown: ")
    assert reason in sheet["note"]
    assert (list(sheet), data["pictures"]) == (["note"], [])


def test_another_prediction_than_in_the_test_is_told(lab, tmp_path):
    """As after a test on another device."""
    folder = lab.folder(lab.cells("scratch")[0].stage)
    with np.load(folder.predictions) as content:
        confusions = content["confusions"].astype(np.int64)
    confusions[:, 0, 0] -= 20
    confusions[:, 0, 1] += 20
    write_confusions(folder.predictions, confusions)
    lab.change(lab.cells("scratch")[0].stage, "metrics", test_accuracy=mean_iou(confusions.sum(0)))
    sheet, _ = sheet_of(lab, tmp_path)
    assert "Here up to 2.1 % of an image's pixels are taken for another class than in the test." in sheet["note"]


@pytest.mark.browser
def test_is_read_aloud_and_fits_a_phone(lab, open_page, screen, tmp_path):
    report = make_report(lab.plan, lab.store, "command")
    page = open_page(write_page(report, tmp_path / "out", sheet_request.SheetRequest(2, tmp_path)))
    page.all("#cells tbody button")[0].send_keys("\ue007")  # enter
    summary = "[...document.querySelectorAll('dialog summary')].find(each => each.innerText === 'Worst test images')"
    page.run(f"{summary}.focus()")
    page.browser.switch_to.active_element.send_keys("\ue007")
    page.wait("document.querySelectorAll('.sheet.masks img').length === 6")
    page.wait("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    names = [each.accessible_name for each in page.all(".sheet.masks li:first-child img")]
    assert names[0].startswith("Test image ")
    assert names[1:] == ["its mask", "the prediction"]
    assert [each.text for each in page.all(".swatches .swatch")] == list(CLASSES)
    assert page.all("#charts h3")[0].text == "mIoU against cost"
    screen(360, 740, scheme="dark")
    assert page.sideways() == 0
    assert page.violations() == []


def test_images_that_are_right_are_not_among_the_worst():
    scores = [1, 0.75, float("nan"), 0.25]
    assert lowest(scores, 8) == [(3, 0.25), (1, 0.75)]
    assert lowest(scores, 1) == [(3, 0.25)]
