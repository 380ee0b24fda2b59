"""Tables and figures of generated images."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchbench.reports.figure import DOUBLE
from benchbench.reports.figures.save import figure_bytes
from benchbench.reports.figures.synthetic import contact_sheet, quality_and_gain
from benchbench.reports.tables.synthetic import pairs, synthetic, synthetic_gains
from benchbench.specs.records import DataRecord, NearestMetrics, QualityMetrics, StageRecord, SynthesisMetrics
from benchbench.synthesis.shards import GeneratedImage, Shards, encode
from tests.reports.table_texts import texts
from tests.specs import cost_record, diffusion_record, quality_record, synthesis_record

KD = {"method": "distill", "loss": {"ce": 1, "kd": 1}}
CLASSES = DataRecord(names=tuple("abcdefghij"), train=40)
ARMS = {
    "scratch": {"method": "scratch"},
    "scratch + images": {"method": "scratch", "synthetic": "images"},
    "kd": KD,
    "kd + images": {**KD, "synthetic": {"set": "images", "times": 1}},
    "longer + images": {"method": "scratch", "synthetic": "images", "recipe": {"epochs": 9}},
}
QUALITY = QualityMetrics(
    images=80,
    real=40,
    dimensions=64,
    fid=12.34,
    kid=0.00567,
    precision=0.81,
    recall=0.42,
    density=0.93,
    coverage=0.5,
    agreement=0.625,
    train=NearestMetrics(quartiles=(1.0, 2.0, 3.0), copies=3),
    test=NearestMetrics(quartiles=(1.0, 2.0, 3.0), copies=1),
)


@pytest.fixture
def image_lab(make_lab):
    """A lab with a finished set of generated images and its quality."""
    sets = {"images": {"source": {"trained_diffusion": {"image_size": 16}}, "times": 2}}
    lab = make_lab(arms=ARMS, synthetic=sets, quality={"teacher": "big", "state": "scratch"})
    metrics = SynthesisMetrics(images=79, rejected={"black": 4, "not finite": 1}, retried=2, given_up=1)
    write(lab, "synthesis", synthesis_record(metrics=metrics, data=CLASSES, cost=cost_record(device_hours=2.0)))
    write(lab, "diffusion", diffusion_record(cost=cost_record(device_hours=3.0)))
    write(lab, "quality", quality_record(metrics=QUALITY))
    (stage,) = (stage for stage in lab.plan.stages.values() if stage.kind == "synthesis")
    draw(lab.folder(stage.key).path, (0, 3))
    return lab


def draw(folder: Path, labels: Iterable[int]) -> None:
    """Fourteen images of each class."""
    shards, random = Shards(folder), np.random.default_rng(0)
    pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    shards.add([GeneratedImage(label, index, 0, 0, None, encode(pixels)) for label in labels for index in range(14)])
    shards.finish()


def write(lab, kind: str, record: StageRecord) -> None:
    """Finishes every stage of a kind."""
    for key, stage in lab.plan.stages.items():
        if stage.kind == kind:
            lab.write(key, record)


def test_a_row_a_set(image_lab):
    table = synthetic(image_lab.frame(), image_lab.plan, image_lab.store)
    expected = ["79", "5", "12.3", "5.67", "0.81", "0.42", "0.93", "0.50", "62.5", "3 / 1", "5.00"]
    assert texts(table) == {"images": expected}
    notes = "\n".join(table.notes)
    assert "big (scratch), 64 features, against 40 training images" in notes
    assert "biased upwards" in notes


def test_what_was_not_judged_says_so(make_lab):
    lab = make_lab(arms=ARMS, synthetic={"images": {"source": "same_class_mixup"}})
    assert synthetic(lab.frame(), lab.plan, lab.store) is None
    write(lab, "synthesis", synthesis_record(80))
    table = synthetic(lab.frame(), lab.plan, lab.store)
    assert texts(table)["images"] == ["80", "0", *["–"] * 8, "1.00"]
    assert any("not judged" in note for note in table.notes)


def test_arms_are_compared_with_themselves_without_images(image_lab):
    twins = {(pair.row, pair.twin) for pair in pairs(image_lab.plan)}
    assert twins == {
        ("scratch + images", "scratch"),
        ("kd + images, big (scratch)", "kd, big (scratch)"),
    }  # the longer one has no twin


def test_arms_of_several_lengths_are_compared_with_those_as_long(make_lab):
    long = {"recipe": {"epochs": [1, 10]}}
    arms = {"plain": {"method": "scratch", **long}, "images": {"method": "scratch", "synthetic": "images", **long}}
    lab = make_lab(arms=arms, synthetic={"images": {"source": "same_class_mixup"}})
    assert {(pair.row, pair.twin) for pair in pairs(lab.plan)} == {
        ("images (1 epoch)", "plain (1 epoch)"),
        ("images (10 epochs)", "plain (10 epochs)"),
    }


def test_gains_and_what_they_cost(image_lab):
    image_lab.teach()
    image_lab.finish_arm("scratch", [0.5, 0.6, 0.7], [1.0] * 3)
    image_lab.finish_arm("scratch + images", [0.7, 0.8, 0.9], [2.0] * 3)
    table = synthetic_gains(image_lab.frame(), image_lab.plan)
    rows = texts(table)
    assert rows["scratch + images"][0] == "images"
    assert rows["scratch + images"][1].startswith("+20.0 [")
    # 5 hours of generation are shared by nine runs.
    assert rows["scratch + images"][2:] == [f"{2 + 5 / 9:.2f}", "3 / 3"]
    assert rows["kd + images, big (scratch)"][1:] == ["–", "–", "0 / 0"]


def test_the_sheet_has_a_line_a_class(image_lab):
    figure = contact_sheet(image_lab.frame(), image_lab.plan, image_lab.store)
    (axis,) = figure.figure.axes
    assert axis.images[0].get_array().shape == (2 * 64, 12 * 64, 3)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "d"]


@pytest.mark.parametrize(
    "names", [["automobile", *"bcdefghij"], ["American Goldfinch", "television_screen", *"cdefghij"]]
)
def test_names_of_classes_are_whole(names, make_lab):
    """Of two sets, one above the other."""
    sets = {name: {"source": "same_class_mixup", "times": times} for times, name in enumerate(("one", "two"), start=1)}
    lab = make_lab(arms={name: {"method": "scratch", "synthetic": name} for name in sets}, synthetic=sets)
    write(lab, "synthesis", synthesis_record(80, data=DataRecord(names=names, train=40)))
    for stage in lab.plan.stages.values():
        if stage.kind == "synthesis":
            draw(lab.folder(stage.key).path, range(10))
    figure = contact_sheet(lab.frame(), lab.plan, lab.store)
    assert len(figure.figure.axes) == 2
    with Image.open(io.BytesIO(figure_bytes(figure, "png", dpi=100))) as image:
        inked = (np.array(image.convert("L")) < 200).any(axis=0)
    assert not inked[:3].any()
    assert not inked[-3:].any()
    assert inked[: len(inked) // 6].any()  # the names


def test_points_are_gains_against_measures(image_lab):
    assert quality_and_gain(image_lab.frame(), image_lab.plan, image_lab.store) is None
    image_lab.finish_arm("scratch", [0.5], [1.0])
    image_lab.finish_arm("scratch + images", [0.75], [1.0])
    figure = quality_and_gain(image_lab.frame(), image_lab.plan, image_lab.store)
    points = [[line.get_xydata().tolist() for line in axis.lines][-1] for axis in figure.figure.axes]
    assert points == [[[12.34, 25.0]], [[0.5, 25.0]], [[0.625, 25.0]]]


def test_suites_without_images_have_none_of_them(finished):
    frame = finished.frame()
    assert synthetic(frame, finished.plan, finished.store) is None
    assert synthetic_gains(frame, finished.plan) is None
    assert contact_sheet(frame, finished.plan, finished.store) is None
    assert quality_and_gain(frame, finished.plan, finished.store) is None


@pytest.mark.parametrize("figure", [contact_sheet, quality_and_gain])
def test_figures_fit_a_page_and_are_the_same_every_time(figure, image_lab):
    image_lab.finish_arm("scratch", [0.5], [1.0])
    image_lab.finish_arm("scratch + images", [0.75], [1.0])
    first, second = (figure(image_lab.frame(), image_lab.plan, image_lab.store) for _ in range(2))
    assert first.figure.get_figwidth() <= DOUBLE
    assert figure_bytes(first, "pdf") == figure_bytes(second, "pdf")
