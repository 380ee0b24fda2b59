"""The model card: origin, accuracy, cost and licence; and that nothing in it is rendered."""

from __future__ import annotations

import re

import pytest
from ruamel.yaml import YAML

from benchbench.export import ExportOptions, export_student
from tests.specs import cost_record, outputs_record, synthesis_record, training_record

TEACHER = {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}}
ARMS = {"A/U": {"method": "distill", "loss": {"ce": 1, "align_uniform": {"weight": 0.5, "projector": "linear"}}}}


def change(folder, **changes):
    """Replaces parts of a record; a mapping replaces fields of a part."""
    record = folder.done()
    for name, value in changes.items():
        part = getattr(record, name).model_copy(update=value) if isinstance(value, dict) else value
        record = record.model_copy(update={name: part})
    folder.write_record(record)


@pytest.fixture
def card(trained, store, tmp_path):
    """The card of a cell, with parts of its record replaced."""

    def make(model="timm/test_efficientnet", licence=None, record=None, **changes):
        folder = trained(model, **changes)
        change(folder, **(record or {}))
        result = export_student(store, folder, ExportOptions(tmp_path / "out", licence=licence))
        return (result.folder / "README.md").read_text(encoding="utf-8")

    return make


def front(text):
    return YAML(typ="safe").load(text.split("---\n")[1])


def test_origin(card):
    text = card(teachers=TEACHER, arms=ARMS)
    assert "A student of a BenchBench suite: A/U, big (scratch) \\| cifar \\| mine \\| seed 7." in text
    assert "- data: cifar10\\_subset (per\\_class: 4); 40 images to train on, 0 for validation" in text
    assert "- started from: random weights" in text
    assert "- teacher: timm/test\\_resnet (11 parameters), adapted by scratch" in text
    assert re.search(r"- loss: 0.5 × align\\_uniform \([^)]*projector: linear, dim: 128,", text)
    assert re.search(r"- recipe: epochs 1, batch\\_size 20, optimizer adamw, lr 0.001,", text)
    assert "- seed: 7" in text


def test_accuracy_and_cost(card):
    text = card()
    assert "Test accuracy 62.50 % (n = 800 test images, one seed); tested: the last epoch (1)" in text
    assert "- 1.25 GPU-hours of its own (set-up, training, one test) on Big GPU" in text


def test_the_epoch_that_was_chosen(card):
    record = {"metrics": {"validation_accuracy": 0.5, "chosen_epoch": 3}, "data": {"validation": 12}}
    text = card(record=record, selection={"rule": "best", "validation": 0.25})
    assert "tested: the epoch (3) that is best on a validation split" in text
    assert "Validation accuracy 50.00 % (n = 12 images)." in text


@pytest.mark.parametrize(
    ("role", "record"),
    [
        ("teacher0", training_record(kind="teacher")),
        ("features", outputs_record()),
        ("outputs0", outputs_record()),
        ("synthetic", synthesis_record()),
    ],
)
def test_the_cost_of_the_stages_that_it_depends_on(trained, store, tmp_path, role, record):
    folder = trained("timm/test_efficientnet", teachers=TEACHER, arms=ARMS)
    spec = folder.read_spec()
    (key,) = spec.needs.values()
    folder.write_spec(spec.model_copy(update={"needs": {role: key}}))
    needed = store.stage(record.kind, key)
    needed.path.mkdir(parents=True)
    cost = cost_record(device_hours=6.0, unit="GPU-hours")
    needed.write_record(record.model_copy(update={"cost": cost, "label": "teacher big"}))
    result = export_student(store, folder, ExportOptions(tmp_path / "out"))
    text = (result.folder / "README.md").read_text()
    assert "- 6 GPU-hours for a stage that it depends on: teacher big" in text


@pytest.mark.parametrize(("licence", "identifier"), [(None, "unknown"), ("Apache-2.0", "Apache-2.0")])
def test_the_licence_is_as_stated(card, licence, identifier):
    text = card(licence=licence)
    assert front(text)["license"] == identifier
    assert ("Unknown: nobody has stated it." in text) == (licence is None)


@pytest.mark.parametrize("licence", [None, "dinov3-license"])
def test_the_licence_of_the_weights_that_it_started_from(card, licence):
    text = card(record={"model": {"licence": licence}})
    assert ("Stated for weights: timm/test\\_efficientnet: dinov3-license." in text) == (licence is not None)


def test_the_front_matter_names_the_library_that_the_hub_loads_it_by(card):
    assert front(card())["library_name"] == "timm"


def test_no_library_where_the_hub_has_none(card):
    assert "library_name" not in front(card("cifar/resnet8"))


def test_a_network_of_another_size_than_it_was_trained_with(card):
    text = card({"model": "timm/test_efficientnet", "input_size": 48})
    assert "cropped to the middle 48 x 48" in text
    assert "brought to 32 pixels first and then to the network's 48" in text


def test_no_path_of_a_file_is_shown(trained, store, tmp_path):
    """The suite of whoever trained it names folders of theirs."""
    (tmp_path / "secret").mkdir()
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "secret" / name).mkdir(parents=True)
        (tmp_path / "secret" / name / "x.png").write_bytes(PIXEL)
    source = {"imagefolder": {"path": str(tmp_path / "secret")}}
    folder = trained("timm/test_efficientnet", data={"mine": {"source": source}})
    result = export_student(store, folder, ExportOptions(tmp_path / "out"))
    text = (result.folder / "README.md").read_text()
    assert "secret" not in text
    assert re.search(r"imagefolder \(.*path: content [0-9a-f]{16}", text)


def test_nothing_is_rendered(card):
    text = card(record={"label": "<script>alert(1)</script> [x](http://y) | **z**\n# title"})
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)\[x\\?\]\(", text)
    assert "\n# title" not in text


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
