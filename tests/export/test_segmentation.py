"""A segmentation as files: loaded again it gives the same logits, at the size of the images."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from benchbench.errors import ExportError
from benchbench.export import ExportOptions, export_student
from benchbench.export.forms import load_exported
from benchbench.export.load import load_trained
from tests.export.conftest import CLASSES
from tests.segments import CLASSES as NAMES
from tests.segments import write_squares

PLUGIN = """
from benchbench import Component, Params, hookimpl

class MineParams(Params):
    extra: int = 1

@hookimpl
def benchbench_heads():
    yield Component("mine", f"{__name__}:build", MineParams, "one layer on the last map")

def build(maps, classes, extra):
    from torch import nn
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(maps[-1].channels, classes, 1)
        def forward(self, features):
            return self.layer(features[-1])
    return Head()
"""


@pytest.fixture
def segmenter(trained, tmp_path):
    """The folder of a finished student on squares: `segmenter("timm/test_efficientnet")`."""
    source = {"maskfolder": {"path": str(write_squares(tmp_path / "squares", 4, 2)), "classes": list(NAMES)}}

    def make(model, **changes):
        folder = trained(model, data={"squares": {"source": source}}, **changes)
        record = folder.done()
        folder.write_record(record.model_copy(update={"metrics": record.metrics.model_copy(update={"score": "miou"})}))
        return folder

    return make


@torch.no_grad()
def logits_of(folder, images):
    """Those of `load_trained`, enlarged to the size of the images."""
    logits = load_trained(folder.path)[0](images).logits
    assert logits.std() > 1e-4
    return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("model", ["cifar/resnet8", "timm/test_efficientnet"])
@torch.no_grad()
def test_it_loads_again_with_the_same_logits(segmenter, store, tmp_path, model):
    folder = segmenter(model)
    done = export_student(store, folder, ExportOptions(tmp_path / "out"))
    assert done.files == ["README.md", "config.json", "model.safetensors"]
    assert f"{model.split('/')[0]} builds no segmentation" in done.note
    network, classes = load_exported(done.folder)
    assert classes == CLASSES
    for shape in ((32, 32), (48, 40)):
        images = torch.rand(2, 3, *shape)
        assert torch.equal(network(images).logits, logits_of(folder, images))
    config = json.loads((done.folder / "config.json").read_text())
    assert (config["task"], config["crop_mode"], config["label_names"]) == ("segmentation", "letterbox", [*CLASSES])


def test_the_card(segmenter, store, tmp_path):
    done = export_student(store, segmenter("cifar/resnet8"), ExportOptions(tmp_path / "out"))
    text = (done.folder / "README.md").read_text()
    assert "pipeline_tag: image-segmentation\n" in text
    assert "Test mIoU 62.50 % (n = 800 test images, one seed)" in text
    assert "Semantic segmentation: a class for each pixel. Classes: 0 aeroplane, 1 bird" in text
    assert "images whose longer side has 32 pixels" in text
    assert "their logits have the size of the images" in text
    assert "accuracy" not in text.lower().replace("balanced accuracy", "")


@pytest.mark.parametrize(("decoder", "sides"), [("fpn", "of sides that 32 divides"), ("unet", "of any size")])
def test_the_card_says_which_sizes_a_decoder_takes(segmenter, store, tmp_path, decoder, sides):
    folder = segmenter({"model": "timm/test_resnet", "head": {"smp": {"decoder": decoder}}})
    done = export_student(store, folder, ExportOptions(tmp_path / "out"))
    assert f"# images [B, 3, H, W] in 0..1, {sides} ->" in (done.folder / "README.md").read_text()


@torch.no_grad()
def test_a_head_of_a_plugin(segmenter, store, tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(PLUGIN)
    folder = segmenter({"model": "cifar/resnet8", "head": {"mine": {"extra": 2}}}, plugins=[str(source)])
    done = export_student(store, folder, ExportOptions(tmp_path / "out", plugins=(source,)))
    images = torch.rand(2, 3, 32, 32)
    expected = load_trained(folder.path, (source,))[0](images).logits
    logits = load_exported(done.folder, [source])[0](images).logits
    assert torch.equal(logits, F.interpolate(expected, (32, 32), mode="bilinear", align_corners=False))


def test_a_copy_with_other_logits_is_not_left_behind(segmenter, store, tmp_path, monkeypatch):
    folder = segmenter("cifar/resnet8")
    monkeypatch.setattr("benchbench.export.forms._enlarge", lambda _model, _args, _named, outputs: outputs)
    monkeypatch.setattr("benchbench.export.at_full_size", lambda model: model)
    other = "benchbench.export.forms.answers_of"
    monkeypatch.setattr(other, lambda model, images: (model(images).logits + 0.01,))
    with pytest.raises(ExportError, match=r"loaded by benchbench, .* gives other logits \(by up to 0.01\)"):
        export_student(store, folder, ExportOptions(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.whole_run
def test_onnx(segmenter, store, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = segmenter("cifar/resnet8")
    done = export_student(store, folder, ExportOptions(tmp_path / "out", onnx=True))
    assert list(done.differences) == ["benchbench", "onnxruntime"]
    session = runtime.InferenceSession(done.folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert tuple(json.loads(session.get_modelmeta().custom_metadata_map["names"])) == CLASSES
    for count in (1, 5):
        images = torch.rand(count, 3, 32, 32)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        assert logits.shape == (count, len(CLASSES), 32, 32)
        torch.testing.assert_close(torch.from_numpy(logits), logits_of(folder, images), rtol=1e-4, atol=1e-4)
    assert "masks = logits.argmax(1)" in (done.folder / "README.md").read_text()
