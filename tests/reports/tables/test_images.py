"""Distilled arms of a segmentation over test images drawn anew."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

from benchbench.reports.tables import images
from benchbench.statistics.segmentation import mean_iou
from benchbench.store import write_confusions
from tests.reports.conftest import STUDENT
from tests.reports.table_texts import rows_of
from tests.segments import CLASSES, write_squares

RIGHT = {"KD": 200, "KD + tune": 240, "tune": 220, "CWD": 210, "A/U": 190}  # pixels of each class, of 256
DISTILLED = {"KD": {"kd": 1}, "CWD": {"cwd": 1}, "A/U": {"align_uniform": 1}}


@pytest.fixture
def lab(make_lab, tmp_path):
    """Two images and two seeds of each arm, of which one fine-tunes a distilled student."""
    source = {"maskfolder": {"path": str(write_squares(tmp_path / "squares", 4, 2)), "classes": list(CLASSES)}}
    distilled = {arm: {"method": "distill", "loss": {"ce": 1, **loss}} for arm, loss in DISTILLED.items()}
    tuned = {"KD + tune": {"method": "finetune", "start": "KD"}, "tune": {"method": "finetune"}}
    student = {"small": STUDENT | {"head": {"fpn": {"width": 8}}}}
    teacher = {"big": {"model": "cifar/resnet14", "head": {"fpn": {"width": 8}}, "adapt": ["scratch"]}}
    made = make_lab(
        data={"own": {"source": source}}, arms=distilled | tuned, students=student, teachers=teacher, seeds=[0, 1]
    )
    made.teach()
    for arm, right in RIGHT.items():
        for cell in made.cells(arm):
            confusions = np.array([[[right, 256 - right], [256 - right, right]]] * 2)
            made.finish(cell.stage)
            write_confusions(made.folder(cell.stage).predictions, confusions)
            score = mean_iou(confusions.sum(0))
            made.change(cell.stage, "metrics", score="miou", test_accuracy=score, test_count=2)
            made.change(cell.stage, "data", names=CLASSES, test=2)
    return made


def iou(arm: str) -> float:
    return RIGHT[arm] / (512 - RIGHT[arm])


def test_the_reference_is_no_distilled_student_that_is_fine_tuned(lab):
    table = images.by_image(lab.frame(), lab.plan, lab.store)
    assert table.title == "Distillation against tune over the test images of tiny"
    assert [row[:2] for row in rows_of(table)] == [
        [f"{arm}, big (scratch)", f"{100 * (iou(arm) - iou('tune')):+.2f}"] for arm in DISTILLED
    ]


def test_one_arm_is_in_memory_beside_the_reference(lab, monkeypatch):
    """Their matrices as they are stored: of many classes and images they take gigabytes."""
    references, most, kinds = [], 0, set()

    def read(*place):
        nonlocal most
        counts = images.image_confusions(*place)
        references.append(weakref.ref(counts))
        most = max(most, sum(each() is not None for each in references))
        kinds.add(counts.dtype)
        return counts

    monkeypatch.setattr(images, "PIXELS", replace(images.PIXELS, read=read))
    frame = lab.frame()
    assert len(images.by_image(frame, lab.plan, lab.store).rows) == len(references) / 2 - 1 == 3
    assert most == 4  # two seeds of two arms
    assert kinds == {np.dtype(np.uint8)}
