"""A whole run of a segmentation: every method, killed and gone on with, its tables and its stored answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchbench.statistics.segmentation import mean_iou
from tests.running.commands import in_this_process, require_same_after_a_kill, run
from tests.segments import write_squares

pytestmark = pytest.mark.whole_run

# The network of images starts from a pre-training on classes: the head is replaced, and the trunk kept.
SUITE = """
name: squares
seeds: [0]
selection: {validation: 0.25, rule: best}
data:
  squares: {source: {maskfolder: {path: images, classes: [background, square]}}}
pretraining:
  corpus: {data: {source: {csv: {path: classes.csv, split: {test: 0.2}}}}}
students:
  small: {model: cifar/resnet8, weights: {pretraining: corpus}}
teachers:
  big: {model: cifar/resnet14, head: {fpn: {width: 8}}, adapt: [scratch]}
recipes:
  default: {epochs: 2, batch_size: 4, image_size: 16, optimizer: adamw, lr: 1e-2, precision: exact,
    augment: {flip: {}, random_crop: {padding: 2}}}
arms:
  scratch: {method: scratch}
  probe: {method: linear_probe}
  tuned: {method: finetune}
  taught: {method: distill, loss: {ce: 1, kd: 1, align_uniform: 1}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The suite and its images; the images are a corpus of two classes too, which a table of paths says."""
    folder = tmp_path_factory.mktemp("segmentation")
    write_squares(folder / "images")
    images = sorted((folder / "images/train/images").iterdir())
    rows = [f"{path.relative_to(folder)},{'even' if number % 2 else 'odd'}" for number, path in enumerate(images)]
    (folder / "classes.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    (folder / "squares.yaml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def finished(folder) -> Path:
    run("squares.yaml", cwd=folder)
    return folder


def test_every_way_is_trained_and_tested(finished):
    frame = json.loads(in_this_process("results", "squares.yaml", "--json", cwd=finished).out)
    assert {row["arm"]: row["status"] for row in frame} == dict.fromkeys(
        ("scratch", "probe", "tuned", "taught"), "done"
    )
    for row in frame:
        counts = np.load(finished / "runs/cell" / row["key"][:16] / "predictions.npz")["confusions"].astype(int)
        assert counts.shape == (4, 2, 2)
        assert counts.sum() == 4 * 16 * 15  # the first row of each mask is ignored
        assert row["accuracy"] == row["miou"] == pytest.approx(mean_iou(counts.sum(0)))
        assert row["pixel_accuracy"] == pytest.approx(np.trace(counts.sum(0)) / counts.sum())
        assert row["pretraining_basis"] == ("measured" if row["arm"] in ("probe", "tuned") else None)


def test_tables_are_about_the_mean_intersection_over_union(finished):
    out = in_this_process("report", "squares.yaml", "--tables", "all", "--format", "csv", cwd=finished).out
    assert "Test mIoU (%) of squares" in out
    assert "pixel accuracy" in out
    assert "Distillation against tuned over the test images of squares" in out
    assert "metric of the suite: mIoU, over the pixels of all test images together" in out


def test_killed_and_started_again_it_ends_with_the_same_numbers(finished, tmp_path):
    require_same_after_a_kill("squares.yaml", finished, tmp_path)


def test_answers_that_are_not_of_the_record_are_said(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    path = next((tmp_path / "copy/runs/cell").glob("*/predictions.npz"))
    np.savez_compressed(path, confusions=np.ones((4, 2, 2), np.uint8))
    out = in_this_process("results", "squares.yaml", "--json", cwd=tmp_path / "copy").out
    failed = [row["reason"] for row in json.loads(out) if row["status"] == "failed"]
    assert len(failed) == 1
    assert "predictions.npz is not of the record beside it" in failed[0]
