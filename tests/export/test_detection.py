"""A detection as files: loaded again it gives the same boxes, and the code of its card drops overlapping ones."""

from __future__ import annotations

import contextlib
import io
import json
import re

import pytest
import safetensors.torch
import torch

from benchbench.export import ExportOptions, export_student
from benchbench.export.forms import load_exported
from benchbench.export.load import load_trained
from benchbench.store import file_sha256
from tests.export.conftest import CLASSES
from tests.objects import SIDE, write_objects

HEAD = {"fcos": {"width": 32, "convolutions": 1, "finest": 2, "extra_levels": True}}


@pytest.fixture
def folder(trained, tmp_path):
    """That of a finished student on squares, which finds many boxes."""
    images = write_objects(tmp_path / "objects")
    source = {"coco": {"train": str(images / "train.json"), "test": str(images / "test.json")}}
    made = trained({"model": "cifar/resnet8", "head": HEAD}, data={"objects": {"source": source}})
    state, random = safetensors.torch.load_file(made.weights), torch.Generator().manual_seed(0)
    for name, tensor in state.items():
        if "cls_logits" in name or "bbox_" in name:  # a fresh head says the same everywhere
            tensor += 0.1 * torch.randn(tensor.shape, generator=random) + ("bbox_reg.bias" in name)
    safetensors.torch.save_file(state, made.weights)
    record = made.done()
    metrics = record.metrics.model_copy(update={"score": "map"})
    made.write_record(record.model_copy(update={"metrics": metrics, "weights_sha256": file_sha256(made.weights)}))
    return made


def images_of(count=2):
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def boxes_of(model):
    """Class, score and corners of the boxes that a network finds, overlapping ones dropped."""
    found = model.detector.detections(model(images_of()), SIDE)
    rows = [torch.cat([numbers[:, None], scores[:, None], corners], 1) for corners, scores, numbers in found]
    return torch.cat(rows)


def printed(card: str, place: int, images) -> torch.Tensor:
    """The same as the code of a card prints it; `place` is that of the code in the card."""
    with contextlib.redirect_stdout(io.StringIO()) as stream, torch.no_grad():
        exec(re.findall(r"```python\n(.*?)```", card, re.S)[place], {"images": images})  # noqa: S102
    lines = re.findall(r"^(.+) (\S+) \[(.+)\]$", stream.getvalue().replace(CLASSES[2], "cat"), re.M)
    names = [*CLASSES[:2], "cat"]
    return torch.tensor([[names.index(name), float(score), *map(float, row.split(","))] for name, score, row in lines])


def test_files_and_card(folder, store, tmp_path, monkeypatch):
    done = export_student(store, folder, ExportOptions(tmp_path / "out"))
    assert done.files == ["README.md", "config.json", "model.safetensors"]
    assert "cifar builds no detection: benchbench.export.forms.load_exported loads these files" in done.note
    network, classes = load_exported(done.folder)
    expected = boxes_of(load_trained(folder.path)[0])
    assert classes == CLASSES
    assert len(expected) > 10
    assert torch.equal(boxes_of(network), expected)
    config = json.loads((done.folder / "config.json").read_text())
    assert (config["task"], config["crop_mode"], config["label_names"]) == ("detection", "letterbox", [*CLASSES])
    card = (done.folder / "README.md").read_text()
    for sentence in (
        "pipeline_tag: object-detection\n",
        "## Mean average precision\n\nTest mAP 62.50 % (n = 800 test images, one seed)",
        "Object detection: boxes around objects, each with a class and a score. Classes: 0 aeroplane, 1 bird",
        "in pixels of the 32 x 32 square",
        "the same boxes and scores as in BenchBench",
    ):
        assert sentence in card
    monkeypatch.chdir(done.folder)
    torch.testing.assert_close(printed(card, 0, images_of()), expected)


@pytest.mark.whole_run
@torch.no_grad()
def test_onnx(folder, store, tmp_path, monkeypatch):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export_student(store, folder, ExportOptions(tmp_path / "out", onnx=True))
    assert list(done.differences) == ["benchbench", "onnxruntime"]
    model = load_trained(folder.path)[0]
    session = runtime.InferenceSession(done.folder / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = images_of(count)
        boxes, scores = session.run(["boxes", "scores"], {"images": images.numpy()})
        points = len(model(images).boxes.points)
        assert (boxes.shape, scores.shape) == ((count, points, 4), (count, points, len(CLASSES)))
        assert 0 <= boxes.min() <= boxes.max() <= SIDE
    monkeypatch.chdir(done.folder)
    card = (done.folder / "README.md").read_text()
    found, expected = printed(card, 1, images_of().numpy()), boxes_of(model)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
