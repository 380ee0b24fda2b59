"""Tables of classes of a segmentation; those of images are in `tests/reports/test_headline.py`."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.reports.tables.answers import classes, confusions
from benchbench.statistics.segmentation import mean_iou
from benchbench.store import write_confusions
from tests.segments import write_squares

NAMES = ("ground", "tree", "house", "car")
# By seed, of two images each. A car is neither there nor predicted.
FIRST = [
    [[5000, 200, 0, 0], [300, 500, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    [[3000, 0, 0, 0], [0, 500, 0, 0], [4, 0, 36, 0], [0, 0, 0, 0]],
]
SECOND = [
    [[5200, 0, 0, 0], [1500, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    [[3000, 0, 0, 0], [0, 0, 0, 0], [8, 0, 32, 0], [0, 0, 0, 0]],
]


@pytest.fixture
def lab(make_lab, tmp_path):
    source = {"maskfolder": {"path": str(write_squares(tmp_path / "squares", 4, 2)), "classes": list(NAMES)}}
    arms, student = {"scratch": {"method": "scratch"}}, {"small": {"model": "cifar/resnet8"}}
    made = make_lab(data={"own": {"source": source}}, arms=arms, students=student, teachers=None, seeds=[0, 1])
    for cell, counts in zip(made.cells("scratch"), (FIRST, SECOND), strict=True):
        confusion = np.array(counts)
        made.finish(cell.stage)
        write_confusions(made.folder(cell.stage).predictions, confusion)
        made.change(cell.stage, "metrics", score="miou", test_accuracy=mean_iou(confusion.sum(0)), test_count=2)
        made.change(cell.stage, "data", names=NAMES, test=2)
    return made


def rows_of(table) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


def test_classes_by_their_intersection_over_union(lab):
    table = classes(lab.frame(), lab.plan, lab.store)
    assert table.title == "IoU by class (%) of tiny"
    assert table.columns == ["class", "test pixels", "scratch"]
    # Over both seeds: tree 1000 of 1000 + 200 + 1800, house 68 of 80, ground 16200 of 16200 + 200 + 1812.
    assert rows_of(table) == [
        ["tree", "1,400", "33.3"],
        ["house", "40", "85.0"],
        ["ground", "8,200", "89.0"],
        ["car", "0", "–"],
    ]
    assert "the pixels that are of a class and taken for it, as a share of those that are either" in table.notes[0]
    assert not any("accuracy" in note for note in table.notes)


def test_confusions_are_of_pixels(lab):
    table = confusions(lab.frame(), lab.plan, lab.store)
    assert table.columns == ["arm", "class", "taken for", "share (%)", "pixels"]
    assert rows_of(table) == [
        ["scratch", "tree", "ground", "64.3", "900"],
        ["scratch", "house", "ground", "15.0", "6"],
        ["scratch", "ground", "tree", "1.2", "100"],
    ]
    assert "shares of a class's test pixels" in table.notes[0]
