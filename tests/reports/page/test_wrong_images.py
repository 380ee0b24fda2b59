"""Sheets of wrong test images: pictures of colours, which tell their classes, and predictions that name others."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchbench.cli import options
from benchbench.errors import BenchBenchError, DataError
from benchbench.plugins import load_plugins
from benchbench.reports import sheet_request
from benchbench.reports.page import sheets, write_page, wrong_images
from benchbench.reports.page.data import page_data
from benchbench.reports.page.images_at_hand import ImagesAtHand
from benchbench.reports.report import make_report
from benchbench.specs.parts import ComponentSpec, DataSpec
from benchbench.store import Predictions, write_predictions

HOSTILE = "<img src=x onerror=acted=1>"  # sorted before the others
COLOURS = {HOSTILE: (255, 0, 0), "green": (0, 255, 0), "lilac": (0, 0, 255)}
NAMES = tuple(COLOURS)
LABELS = np.repeat([0, 1, 2], 4)  # of the test images, as `imagefolder` orders them
ANSWERS = np.array([0, 1, 1, 2, 1, 1, 1, 0, 2, 2, 0, 1])
SURE = np.array([9, 5, 7, 6, 9, 9, 9, 8, 9, 9, 5, 4]) / 10
WRONG = [7, 2, 3, 1, 10, 11]  # by falling probability; of 1 and 10, which are equal, the first comes first


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four test images a class, and one to train on, each of its colour and of another size."""
    for name, colour in COLOURS.items():
        for part, count in (("train", 1), ("test", 4)):
            (tmp_path / "colours" / part / name).mkdir(parents=True)
            for number in range(count):
                path = tmp_path / "colours" / part / name / f"{number}.png"
                Image.new("RGB", (30 + 40 * number, 40), colour).save(path)
    return tmp_path / "colours"


@pytest.fixture
def drawn(make_lab, folder):
    """A lab of one data set, with three runs of one arm done; the second is the best, the third the worst."""
    lab = make_lab(data={"colours": {"source": {"imagefolder": {"path": str(folder)}}}})
    for cell, answers in zip(lab.cells("scratch"), (ANSWERS, LABELS, (LABELS + 1) % 3), strict=True):
        predict(lab, cell.stage, answers)
    predict(lab, lab.cells("tune")[0].stage, ANSWERS)
    return lab


def predict(lab, key: str, answers: np.ndarray) -> None:
    """Finishes a cell with these predictions."""
    right = answers == LABELS
    lab.finish(key, float(right.mean()))
    lab.folder(key).write_spec(lab.plan.stages[key].spec)
    write_predictions(lab.folder(key).predictions, Predictions(LABELS, answers[:, None], np.float16(SURE[:, None])))
    bits = np.packbits(right).tobytes().hex()
    lab.change(key, "metrics", test_count=12, test_correct=bits)
    lab.change(key, "data", names=NAMES, test=12)


@pytest.fixture
def sheets_of(tmp_path) -> Callable[..., tuple[list[dict], dict]]:
    """The sheets of an arm's cells, and the content of the page."""

    def sheets(lab, arm: str, count: int = 24) -> tuple[list[dict], dict]:
        report = make_report(lab.plan, lab.store, "command")
        data = page_data(report, sheets=sheet_request.SheetRequest(count, tmp_path / "data"))
        return [data["stages"][cell.stage[:16]].get("wrong") for cell in lab.cells(arm)], data

    return sheets


def colour(uri: str) -> tuple[int, tuple[int, int]]:
    """The class whose colour a picture has, and its size."""
    assert uri.startswith("data:image/webp;base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return int(np.asarray(picture.convert("RGB")).mean(axis=(0, 1)).argmax()), picture.size


def test_what_was_wrong_by_falling_probability(drawn, sheets_of):
    (sheet, *_), data = sheets_of(drawn, "tune")
    assert [row[1] for row in sheet["images"]] == WRONG
    for place, number, label, predicted, probability in sheet["images"]:
        shown, size = colour(data["pictures"][place])
        assert (NAMES[shown], NAMES[LABELS[number]], NAMES[ANSWERS[number]]) == (label, label, predicted)
        assert probability == pytest.approx(SURE[number], abs=1e-3)
        width = 30 + 40 * (number % 4)
        assert size == ((width, 40) if width <= 64 else (64, round(40 * 64 / width)))
    assert sheet["note"] == "6 of 6 wrong test images."


def test_the_best_and_the_worst_run_of_each_arm(drawn, sheets_of):
    (middle, best, worst), data = sheets_of(drawn, "scratch")
    assert middle == {"note": "Only of the best and the worst run of each arm."}
    assert best == {"note": "It has no test image wrong."}
    assert len(worst["images"]) == len(data["pictures"]) == 12  # those of the other arm are among them, each once
    assert sheets_of(drawn, "tune")[0][1:] == [None, None]  # not done
    assert data["left_out"] == [
        "Wrong test images are shown of 2 of 4 finished runs: the best and the worst of each arm, as far as there is "
        "room (24 images a run, 40 runs and 1,000,000 bytes at most). Their pictures came from the data set when this "
        "page was written."
    ]


def test_a_page_that_was_not_asked_reads_no_image(drawn, monkeypatch):
    monkeypatch.setattr(ImagesAtHand, "of", lambda *_: pytest.fail("it was read"))
    data = page_data(make_report(drawn.plan, drawn.store, "command"))
    assert (data["pictures"], data["left_out"]) == ([], [])
    assert not any("wrong" in stage for stage in data["stages"].values())


def test_one_confusion_does_not_fill_a_sheet():
    labels, answers = np.repeat([0, 1, 2], [20, 3, 1]), np.repeat([1, 0, 1], [20, 3, 1])
    sure = np.linspace(0.9, 0.4, 24)
    chosen = [
        wrong_images.most_confident(Predictions(labels, answers[:, None], sure[:, None]), count).tolist()
        for count in (8, 12, 24)
    ]
    assert chosen == [[0, 1, 2, 3, 20, 21, 22, 23], [*range(8), 20, 21, 22, 23], [*range(24)]]


@pytest.mark.parametrize(("bound", "value"), [("MOST_CELLS", 1), ("MOST_BYTES", 1500)])
def test_a_page_stays_small(drawn, sheets_of, monkeypatch, bound, value):
    predict(drawn, drawn.cells("scratch")[1].stage, ANSWERS)
    monkeypatch.setattr({"MOST_CELLS": wrong_images, "MOST_BYTES": sheets}[bound], bound, value)
    (best, _, worst), data = sheets_of(drawn, "scratch")
    assert len(best["images"]) == len(data["pictures"]) == 6
    assert sum(map(len, data["pictures"])) <= 1500
    assert list(worst) == ["note"]
    assert f"{value:,}" in data["left_out"][0]


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def fewer(folder: Path) -> None:
    (folder / "test" / "green" / "1.png").unlink()


def relabelled(folder: Path) -> None:
    (folder / "test" / "green" / "1.png").rename(folder / "test" / "lilac" / "9.png")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (gone, "colours/train is not a folder)."),
        (fewer, "there are 11 test images now, and 12 were tested."),
        (relabelled, "the labels of the test images are not those that were tested."),
    ],
)
def test_other_images_than_those_that_were_tested(drawn, folder, sheets_of, change, reason):
    change(folder)
    (sheet, *_), data = sheets_of(drawn, "tune")
    assert sheet["note"].startswith("Not shown: ")
    assert sheet["note"].endswith(reason)
    assert (list(sheet), data["pictures"]) == (["note"], [])


def test_files_with_another_content_than_those_that_were_tested(drawn, sheets_of):
    key = drawn.cells("tune")[0].stage
    spec = drawn.plan.stages[key].spec.as_json()
    spec["data"]["source"]["params"]["path"]["$test"] = "0" * 64
    drawn.folder(key).write_spec(type(drawn.plan.stages[key].spec).model_validate(spec))
    assert sheets_of(drawn, "tune")[0][0] == {"note": "Not shown: the test images have changed since the test."}


def test_nothing_is_downloaded(make_lab, sheets_of, tmp_path):
    lab = make_lab(data={"cifar": {"source": "cifar10"}})
    key = lab.cells("tune")[0].stage
    predict(lab, key, ANSWERS)
    reason = "it is not on this machine, and a report downloads nothing"
    note = f"Not shown: the data set cannot be read here ({reason})."
    assert sheets_of(lab, "tune")[0][0] == {"note": note}
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)  # as after a download that was cut short
    assert sheets_of(lab, "tune")[0][0] == {"note": note}
    assert [*(tmp_path / "data").rglob("*")] == [tmp_path / "data" / "cifar-10-batches-py"]


def test_a_hub_s_data_set_is_read_where_a_run_has_left_it(tmp_path):
    pytest.importorskip("huggingface_hub")
    source = ComponentSpec(name="huggingface", params={"repo": "owner/name"})
    data, images = DataSpec(source=source), ImagesAtHand(load_plugins().registry, tmp_path)
    with pytest.raises(DataError, match="a report downloads nothing"):
        images._read(data)
    cache = tmp_path / "huggingface" / "datasets--owner--name"
    for part, labels in (("train", [0, 1]), ("test", [1, 0, 1])):
        write_parquet(cache / "snapshots" / "1234567" / f"{part}.parquet", labels)
    with pytest.raises(DataError, match="a report downloads nothing"):
        images._read(data)  # of no revision that is asked for
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("1234567")
    assert images._read(data).labels.tolist() == [1, 0, 1]


def write_parquet(path: Path, labels: list[int]) -> None:
    """Images of one pixel with whole numbers for labels, in Hugging Face's layout."""
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    pictures = pa.array([{"bytes": stream.getvalue(), "path": ""} for _ in labels])
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.table({"image": pictures, "label": labels}), path)


def test_an_image_that_cannot_be_read_keeps_its_place(drawn, folder, sheets_of):
    spoilt = folder / "test" / "green" / "3.png"  # number 7
    spoilt.write_bytes(b"spoilt")
    (sheet, *_), data = sheets_of(drawn, "tune")
    assert sheet["images"][0] == [None, 7, "green", HOSTILE, pytest.approx(0.8, abs=1e-3)]
    assert len(data["pictures"]) == 11  # of the twelve of the other arm


def test_a_reader_that_fails_costs_the_sheet_alone(drawn, sheets_of, monkeypatch):
    def read(*_):
        raise KeyError("no such thing")

    monkeypatch.setattr(ImagesAtHand, "_read", read)
    assert (
        sheets_of(drawn, "tune")[0][0]["note"]
        == "Not shown: the data set cannot be read here (KeyError: 'no such thing')."
    )


def test_so_many_are_no_sheet(tmp_path):
    assert sheet_request.MOST_IMAGES == options.MOST_WRONG
    assert sheet_request.sheet_request(0, tmp_path) is None
    with pytest.raises(BenchBenchError, match="0 to 24 images, and not 25"):
        sheet_request.sheet_request(25, tmp_path)


def test_images_belong_to_a_page(cli, tmp_path):
    outcome = cli("report", "quickstart", "--wrong-images", "6", "--report", str(tmp_path))
    assert (outcome.code, outcome.out) == (2, "")
    assert "--wrong-images is of the page; add --format html" in outcome.err


@pytest.mark.browser
def test_is_read_aloud_fits_a_phone_and_shows_names_as_text(drawn, open_page, screen, tmp_path):
    report = make_report(drawn.plan, drawn.store, "command")
    page = open_page(write_page(report, tmp_path / "out", sheet_request.SheetRequest(24, tmp_path)))
    page.one("#cells input").send_keys("tune done")
    page.all("#cells tbody button")[0].send_keys("\ue007")  # enter
    summary = "[...document.querySelectorAll('dialog summary')].find(each => each.innerText === 'Wrong test images')"
    page.run(f"{summary}.focus()")
    page.browser.switch_to.active_element.send_keys("\ue007")
    page.wait("document.querySelectorAll('.sheet img').length === 6")
    page.wait("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    assert [each.accessible_name for each in page.all(".sheet img")][:2] == [
        f"Test image 7: green, taken for {HOSTILE} with 80.0 %",
        f"Test image 2: {HOSTILE}, taken for green with 70.0 %",
    ]
    assert page.all(".sheet figcaption")[0].text.splitlines() == ["green", HOSTILE, "80.0 %"]
    assert page.run("return window.acted") is None
    screen(360, 740, scheme="dark")
    assert page.sideways() == 0
    assert page.violations() == []
