"""A whole run of a detection: every method, killed and gone on with, its tables and its stored boxes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchbench.statistics.detection import average_precisions, match, mean_average_precision
from tests.objects import write_objects
from tests.running.commands import in_this_process, require_same_after_a_kill, run

pytestmark = pytest.mark.whole_run

# The network of images starts from a pre-training on classes: the head is replaced, and the trunk kept.
SUITE = """
name: objects
seeds: [0]
selection: {validation: 0.25, rule: best}
data:
  objects: {source: {coco: {train: images/train.json, test: images/test.json}}}
pretraining:
  corpus: {data: {source: {csv: {path: classes.csv, split: {test: 0.2}}}}}
students:
  small: {model: cifar/resnet8, weights: {pretraining: corpus}, head: &head {fcos: {width: 32, convolutions: 0,
    finest: 2, extra_levels: false}}}
teachers:
  big: {model: cifar/resnet14, head: *head, adapt: [scratch]}
recipes:
  default: {epochs: 2, batch_size: 4, image_size: 32, optimizer: adamw, lr: 1e-2, precision: exact,
    augment: {flip: {}, random_crop: {padding: 2}}}
arms:
  scratch: {method: scratch}
  probe: {method: linear_probe}
  tuned: {method: finetune}
  taught: {method: distill, loss: {ce: 1, pkd: 1, align_uniform: 1}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The suite and its images; the images are a corpus of two classes too, which a table of paths says."""
    folder = tmp_path_factory.mktemp("detection")
    write_objects(folder / "images")
    images = sorted((folder / "images/train").iterdir())
    rows = [f"{path.relative_to(folder)},{'even' if number % 2 else 'odd'}" for number, path in enumerate(images)]
    (folder / "classes.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    (folder / "objects.yaml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def finished(folder) -> Path:
    run("objects.yaml", cwd=folder)
    return folder


def test_every_way_is_trained_and_tested(finished):
    frame = json.loads(in_this_process("results", "objects.yaml", "--json", cwd=finished).out)
    assert {row["arm"]: row["status"] for row in frame} == dict.fromkeys(
        ("scratch", "probe", "tuned", "taught"), "done"
    )
    for row in frame:
        boxes = np.load(finished / "runs/cell" / row["key"][:16] / "predictions.npz")["boxes"]
        assert boxes.shape[::2] == (4, 7)
        there = boxes[boxes[..., 6] == 2]
        assert len(there) == 3  # the first image has none
        assert set(np.round(there[:, 2] - there[:, 0])) <= {7, 13}
        precisions = average_precisions(match(boxes))
        assert row["accuracy"] == row["map"] == pytest.approx(mean_average_precision(precisions))
        assert row["ap50"] == pytest.approx(mean_average_precision(precisions[:1]))
        assert row["ap75"] == pytest.approx(mean_average_precision(precisions[5:6]))
        assert row["pretraining_basis"] == ("measured" if row["arm"] in ("probe", "tuned") else None)
        assert row["miou"] is None


def test_tables_are_about_the_mean_average_precision(finished):
    out = in_this_process("report", "objects.yaml", "--tables", "all", "--format", "csv", cwd=finished).out
    assert "Test mAP (%) of objects" in out
    assert "AP by class (%) of objects" in out
    assert "Distillation against tuned over the test images of objects" in out
    assert "metric of the suite: mAP, as COCO counts it, over the boxes of all test images together" in out
    assert "teacher that has learnt nothing" in out


PLUGIN = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_metrics():
    yield Component("empty_right", f"{__name__}:empty_right", summary="images without objects and boxes", boxes=True)
    yield Component("of_images", f"{__name__}:fails")

def empty_right(rows, classes):
    assert classes == 2
    none = (rows[..., 6] != 2).all(1)
    return float((rows[none, :, 6] == 0).all(1).mean())

def fails(answers, classes):
    raise ValueError("it is never asked on a detection")
"""


def test_a_suite_is_about_the_metric_of_a_plugin(finished):
    (finished / "metric.py").write_text(PLUGIN)
    options = ("--plugin", "metric.py", "--set", "metric=empty_right", "--format", "csv")
    out = in_this_process("report", "objects.yaml", *options, "--tables", "all", cwd=finished).out
    assert "Test empty_right (%) of objects" in out
    assert "empty_right: images without objects and boxes" in out
    refused = in_this_process("plan", "objects.yaml", *options[:2], "--set", "metric=of_images", cwd=finished)
    assert refused.code == 2
    assert "metric of_images is of another task, and images of 'objects' have boxes with classes" in refused.err
    (finished / "metric.py").write_text(PLUGIN.replace("float(", "complex("))
    failed = in_this_process("report", "objects.yaml", *options, cwd=finished)
    assert failed.code == 2
    assert "metric 'empty_right' failed" in failed.err


def test_killed_and_started_again_it_ends_with_the_same_numbers(finished, tmp_path):
    require_same_after_a_kill("objects.yaml", finished, tmp_path)


def test_boxes_that_are_not_of_the_record_are_said(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    path = next((tmp_path / "copy/runs/cell").glob("*/predictions.npz"))
    with np.load(path) as content:
        moved = content["boxes"]
    moved[..., :4] += np.where(moved[..., 6:] == 2, 50, 0)  # the objects are elsewhere, and found by no box
    moved[0, 0] = [0, 0, 9, 9, 0, 0, 2]
    moved[0, 1] = [0, 0, 9, 9, 0, 1, 1]
    for boxes in (np.ones((3, 2, 7), np.float32), moved):
        np.savez_compressed(path, boxes=boxes)
        out = in_this_process("results", "objects.yaml", "--json", cwd=tmp_path / "copy").out
        failed = [row["reason"] for row in json.loads(out) if row["status"] == "failed"]
        assert len(failed) == 1
        assert "predictions.npz is not of the record beside it" in failed[0]
