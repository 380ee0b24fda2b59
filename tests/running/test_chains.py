"""Runs whose students start from a pre-training of the suite's own, or from the students of other arms."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image

from benchbench.store import Store
from tests.images import write_images
from tests.running.commands import in_this_process, results, run

pytestmark = pytest.mark.whole_run

STILL = {"optimizer": "sgd", "lr": 1e-12, "momentum": 0.0, "weight_decay": 0.0}
SUITE: dict[str, Any] = {
    "name": "tiny",
    "seeds": [0],
    "data": {"few": {"source": {"imagefolder": {"path": "labelled"}}, "per_class": 2}},
    "pretraining": {
        "corpus": {"data": {"source": {"imagefolder": {"path": "labelled"}}, "per_class": 4}},
        "blind": {"data": {"source": {"unlabelled": {"path": "images"}}}, "method": "distill", "teacher": "big"},
    },
    "students": {"small": {"model": "timm/test_efficientnet", "weights": {"pretraining": "corpus"}}},
    "teachers": {"big": {"model": "timm/test_resnet", "weights": {"pretraining": "corpus"}, "adapt": ["pretrained"]}},
    "recipes": {"default": {"epochs": 1, "batch_size": 20, "image_size": 16, "precision": "exact"}},
    "arms": {
        "tune": {"method": "finetune", "recipe": STILL},
        "probe": {"method": "linear_probe"},
        "align": {"method": "distill", "loss": {"ce": 1, "align_uniform": 1}},
        "blind then tune": {"method": "finetune", "start": "blind", "recipe": STILL},
        "align then tune": {"method": "finetune", "start": "align", "recipe": STILL},
    },
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    """The suite, run to its end."""
    folder = tmp_path_factory.mktemp("chain")
    write_images(folder / "labelled")
    (folder / "images").mkdir()
    for index in range(20):
        Image.effect_noise((16, 16), 5 * index + 1).save(folder / "images" / f"{index:02}.png")
    (folder / "suite.yaml").write_text(json.dumps(SUITE))  # JSON is YAML
    run("suite.yaml", cwd=folder)
    return folder


def parameters(folder: Path, label: str) -> dict[str, torch.Tensor]:
    """Weights of the stage of a label, without what a forward pass alone changes."""
    for kind in ("cell", "pretraining"):
        for stage in Store(folder / "runs").finished(kind):
            if stage.done().label.startswith(label):
                tensors = safetensors.torch.load_file(stage.weights)
                return {name: each for name, each in tensors.items() if "running" not in name and "num_b" not in name}
    raise AssertionError(label)


def test_a_student_starts_from_the_trunk_of_its_pretraining_with_a_head_of_its_own(chain):
    before, after = parameters(chain, "pre-training of small | corpus"), parameters(chain, "tune |")
    trunk = [name for name in before if not name.startswith("head.")]
    assert trunk
    for name in trunk:
        torch.testing.assert_close(after[name], before[name])
    assert not torch.allclose(after["head.weight"], before["head.weight"])


def test_a_corpus_without_labels_leaves_a_trunk_and_no_head(chain):
    before, after = parameters(chain, "pre-training of small | blind"), parameters(chain, "blind then tune")
    assert before.keys() == {name for name in after if not name.startswith("head.")}
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor)
    (record,) = [
        record
        for stage in Store(chain / "runs").finished("pretraining")
        if (record := stage.done()).label.endswith("blind")
    ]
    assert (record.metrics.test_accuracy, record.metrics.test_count, record.data.names) == (None, 0, ())


def test_an_arm_goes_on_from_the_whole_student_of_another(chain):
    before, after = parameters(chain, "align,"), parameters(chain, "align then tune")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor)
    assert not torch.allclose(before["head.weight"], parameters(chain, "tune |")["head.weight"])


def test_a_part_trains_the_students_that_it_goes_on_from(chain):
    run("suite.yaml", "--only", "arm=align then tune", "--store", "part", "--report", "part-report", cwd=chain)
    trained = {label.partition(" | ")[0] for label in results(chain / "part")}
    assert trained == {"align, big (pretrained)", "align then tune"}
    with (chain / "part-report" / "results.csv").open() as file:
        statuses = {row["arm"]: row["status"] for row in csv.DictReader(file)}
    assert {arm for arm, status in statuses.items() if status == "done"} == {"align", "align then tune"}
    assert set(statuses.values()) == {"done", "missing"}


def test_costs_follow_the_chain(chain):
    with (chain / "reports" / "tiny" / "results.csv").open() as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    records = [stage.done() for kind in ("pretraining", "cell") for stage in Store(chain / "runs").finished(kind)]
    hours = {record.label: record.cost.device_hours for record in records}
    assert float(rows["tune"]["pretraining_hours"]) == pytest.approx(hours["pre-training of small | corpus"])
    assert float(rows["align"]["teacher_pretraining_hours"]) == pytest.approx(hours["pre-training of big | corpus"])
    assert {rows[arm]["pretraining_basis"] for arm in ("tune", "probe", "blind then tune")} == {"measured"}
    assert rows["align"]["pretraining_basis"] == rows["align then tune"]["pretraining_basis"] == ""
    (own,) = [value for label, value in hours.items() if label.startswith("align,")]
    assert float(rows["align then tune"]["stage_hours"]) == pytest.approx(own)
    assert float(rows["tune"]["stage_hours"]) == 0
    assert rows["align"]["teacher_accuracy"] == ""  # it was not adapted to the task


def test_the_table_says_that_the_hours_were_measured(chain):
    assert in_this_process("report", "suite.yaml", "--format", "md", cwd=chain).code == 0
    table = (chain / "reports" / "tiny" / "gpu_hours.md").read_text()
    assert "pre-training (est.)" not in table
    assert "(measured)" in table
