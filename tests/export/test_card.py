"""What the model card says, and that nothing in it is rendered."""

from __future__ import annotations

import json
import re

import pytest
from ruamel.yaml import YAML

from benchbench.export import export_student
from benchbench.store import write_json

TEACHER = {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}}
ARMS = {"A/U": {"method": "distill", "loss": {"ce": 1, "align_uniform": {"weight": 0.5, "projector": "linear"}}}}


@pytest.fixture
def card(trained, store, tmp_path):
    """The card of a cell, with parts of its record replaced."""

    def make(model="timm/test_efficientnet", licence=None, record=None, **changes):
        folder = trained(model, **changes)
        kept = json.loads(folder.record.read_text())
        for name, part in (record or {}).items():
            kept[name] = {**kept[name], **part} if isinstance(part, dict) else part
        write_json(folder.record, kept)
        done = export_student(store, folder, tmp_path / "out", False, licence)
        return (done.folder / "README.md").read_text(encoding="utf-8")

    return make


def front(text):
    return YAML(typ="safe").load(text.split("---\n")[1])


def test_what_it_is_and_how_it_came_about(card):
    text = card(teachers=TEACHER, arms=ARMS)
    assert "A student of a BenchBench suite: A/U, big (scratch) \\| cifar \\| mine \\| seed 7." in text
    assert "- data: cifar10\\_subset (per\\_class: 4); 40 images to train on, 0 for validation" in text
    assert "- started from: random weights" in text
    assert "- teacher: timm/test\\_resnet (11 parameters), adapted by scratch" in text
    assert "- loss: 0.5 × align\\_uniform (projector: linear, dim: 128," in text
    assert re.search(r"- recipe: epochs 1, batch\\_size 20, optimizer adamw, lr 0.001,", text)
    assert "- seed: 7" in text


def test_how_good_it_is_and_what_it_cost(card):
    text = card()
    assert "Test accuracy 62.50 % (n = 800 test images, one seed); tested: the last epoch (1)" in text
    assert "- 1.25 GPU-hours of its own (set-up, training, one test) on Big GPU" in text


def test_the_epoch_that_was_chosen(card):
    record = {"metrics": {"validation_accuracy": 0.5, "chosen_epoch": 3}, "data": {"validation": 12}}
    text = card(record=record, selection={"rule": "best", "validation": 0.25})
    assert "tested: the epoch (3) that is best on a validation split" in text
    assert "Validation accuracy 50.00 % (n = 12 images)." in text


def test_the_teacher_s_cost_is_told_apart(trained, store, tmp_path):
    folder = trained("timm/test_efficientnet", teachers=TEACHER, arms=ARMS)
    (key,) = json.loads(folder.spec.read_text())["job"]["needs"].values()
    teacher = store.stage("teacher", key)
    teacher.path.mkdir(parents=True)
    write_json(teacher.record, {"cost": {"device_hours": 6.0, "unit": "GPU-hours"}, "label": "teacher big"})
    done = export_student(store, folder, tmp_path / "out", False, None)
    assert "- 6 GPU-hours for the stage it stands on: teacher big" in (done.folder / "README.md").read_text()


@pytest.mark.parametrize(("licence", "shown"), [(None, "unknown"), ("Apache-2.0", "Apache-2.0")])
def test_the_licence_is_what_was_stated(card, licence, shown):
    text = card(licence=licence)
    assert front(text)["license"] == shown
    assert ("Unknown: nobody has stated it." in text) == (licence is None)


def test_the_front_matter_names_the_library_that_the_hub_loads_it_by(card):
    assert front(card())["library_name"] == "timm"


def test_no_library_where_the_hub_has_none(card):
    assert "library_name" not in front(card("cifar/resnet8"))


def test_where_the_network_wants_another_size_than_it_was_trained_with(card):
    text = card({"model": "timm/test_efficientnet", "input_size": 48})
    assert "cropped to the middle 48 x 48" in text
    assert "brought to 32 pixels first and then to the network's 48" in text


def test_a_file_s_place_is_not_told(trained, store, tmp_path):
    """The suite of whoever trained it names folders of theirs."""
    (tmp_path / "secret").mkdir()
    for name in ("train/a", "test/a"):
        (tmp_path / "secret" / name).mkdir(parents=True)
        (tmp_path / "secret" / name / "x.png").write_bytes(PIXEL)
    source = {"imagefolder": {"path": str(tmp_path / "secret")}}
    folder = trained("timm/test_efficientnet", data={"mine": {"source": source}})
    done = export_student(store, folder, tmp_path / "out", False, None)
    text = (done.folder / "README.md").read_text()
    assert "secret" not in text
    assert re.search(r"imagefolder \(path: content [0-9a-f]{16}", text)


def test_nothing_is_rendered(card):
    text = card(record={"label": "<script>alert(1)</script> [x](http://y) | **z**\n# title"})
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)\[x\\?\]\(", text)
    assert "\n# title" not in text


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
