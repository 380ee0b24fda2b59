"""A student as files: loaded by its library alone it gives the same logits; other students are refused."""

from __future__ import annotations

import json
import math
import re

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from timm.data import ImageNetInfo

from benchbench.errors import ExportError, StoreError
from benchbench.export import ExportOptions, export_student
from benchbench.export.forms import MODEL_FIELDS, crop_share, load_exported
from benchbench.export.load import load_trained
from benchbench.models.cifar_source import build
from benchbench.models.weights import Weights
from benchbench.specs.parts import ModelSpec
from benchbench.store import StageFolder, Store, write_json
from tests.specs import training_record

TINY_DEIT = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "num_heads": 3, "depth": 2}
DEIT = {"model": "timm/deit_tiny_distilled_patch16_224", "params": TINY_DEIT}
TEACHER = {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}}
HARD = {"distil": {"method": "distill", "loss": {"ce": 0.5, "deit": 0.5}}}
REUSED = {"distil": {"method": "distill", "loss": {"simkd": 1}}}
TIMM = [
    "timm/test_efficientnet",
    "timm/test_vit",
    {"model": "timm/dpn48b", "params": {"k_sec": [1, 1, 1, 1]}},  # classifies by a 1 x 1 convolution
    {"model": "timm/test_resnet", "mean": [0.25, 0.5, 0.75], "std": [0.125, 0.25, 0.5]},
    {"model": "timm/test_vit2", "params": {"img_size": 32, "global_pool": "avg"}},
    {"model": "timm/test_efficientnet", "input_size": 48},
    DEIT,
]


def export(store, folder, tmp_path, onnx=False):
    return export_student(store, folder, ExportOptions(tmp_path / "out", onnx))


@pytest.fixture
def images():
    return lambda size: torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def assert_same(logits, folder, images):
    """The logits are those of `load_trained` on the same images; and they tell images apart."""
    expected = load_trained(folder.path)[0](images).logits
    assert expected.std(0).min() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


class TestTimm:
    @pytest.mark.parametrize("model", TIMM, ids=str)
    @torch.no_grad()
    def test_timm_alone_gives_the_same_logits(self, trained, store, tmp_path, model, images):
        folder = trained(model)
        done = export(store, folder, tmp_path)
        assert done.files == ["README.md", "config.json", "model.safetensors"]
        network = timm.create_model(f"local-dir:{done.folder}", pretrained=True).eval()
        config = network.pretrained_cfg
        pixels = images(config["input_size"][-1])
        mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
        assert_same(network((pixels - mean) / std), folder, pixels)

    def test_the_config_that_timm_reads(self, trained, store, tmp_path):
        recipe = {"default": {"epochs": 1, "batch_size": 20, "image_size": 64, "eval_resize": 80}}
        student = {"model": "timm/test_efficientnet", "mean": [0.25, 0.5, 0.75], "std": [0.125, 0.25, 0.5]}
        done = export(store, trained(student, recipes=recipe), tmp_path)
        model = timm.create_model(f"local-dir:{done.folder}")
        data = timm.data.resolve_data_config({}, model=model)
        assert data["input_size"] == (3, 64, 64)
        assert data["crop_pct"] == pytest.approx(64 / 80)
        assert (data["mean"], data["std"]) == ([0.25, 0.5, 0.75], [0.125, 0.25, 0.5])
        assert data["interpolation"] == "bilinear"
        config = json.loads((done.folder / "config.json").read_text())
        assert config["architecture"] == "test_efficientnet"
        assert config["num_classes"] == 3
        assert config["label_names"] == ["aeroplane", "bird <b>", "cat\n# Cat"]

    def test_no_trace_of_timm_s_own_weights(self, trained, store, tmp_path):
        """A tag names weights that this student never had, or has no more."""
        done = export(store, trained("timm/test_resnet.r160_in1k"), tmp_path)
        config = json.loads((done.folder / "config.json").read_text())["pretrained_cfg"]
        assert not {"tag", "license", "hf_hub_id", "url", "origin_url", "paper_ids"} & config.keys()

    @torch.no_grad()
    def test_two_heads_of_a_distilled_transformer(self, trained, store, tmp_path, images):
        folder = trained(DEIT, teachers=TEACHER, arms=HARD)
        trained_model, _ = load_trained(folder.path)
        assert trained_model.token_head is not None
        network = timm.create_model(f"local-dir:{export(store, folder, tmp_path).folder}", pretrained=True).eval()
        assert not torch.equal(network.head.weight, network.head_dist.weight)
        assert_same(network(normal(images(32))), folder, images(32))

    def test_a_teacher_is_taken_too(self, trained, store, tmp_path):
        folder = trained("timm/test_efficientnet")
        moved = store.root / "teacher" / folder.path.name
        moved.parent.mkdir()
        folder.path.rename(moved)
        stage = StageFolder(moved)
        stage.write_spec(stage.read_spec().model_copy(update={"role": "teacher"}))
        result = export(store, stage, tmp_path)
        assert "A teacher of a BenchBench suite" in (result.folder / "README.md").read_text()


def normal(images):
    """By ImageNet's mean and deviation, which most networks want."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images - mean) / std


@pytest.mark.parametrize("size", [16, 32, 96, 224, 299, 384])
def test_the_share_of_a_crop_leaves_timm_the_whole_side(size):
    """timm's own rule: images are resized to floor(size / crop_pct)."""
    for shorter in range(size, 4 * size):
        share = crop_share(size, shorter)
        assert math.floor(size / share) == shorter
        assert share == pytest.approx(size / shorter, rel=1e-15)


class TestTorchvision:
    @pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "googlenet"])
    @torch.no_grad()
    def test_its_constructor_takes_it(self, trained, store, tmp_path, name, images, monkeypatch):
        monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, **_: tensor)  # GoogLeNet's; it is slow
        folder = trained(f"torchvision/{name}")
        done = export(store, folder, tmp_path)
        config = json.loads((done.folder / "config.json").read_text())
        assert config["model_args"]["num_classes"] == 3
        network = torchvision.models.get_model(name, **config["model_args"]).eval()
        network.load_state_dict(safetensors.torch.load_file(done.folder / "model.safetensors"))
        assert_same(network(normal(images(32))), folder, images(32))

    def test_a_network_that_it_cannot_build_is_refused(self, trained, store, tmp_path):
        folder = trained("torchvision/squeezenet1_1")
        with pytest.raises(ExportError, match=r"squeezenet1_1 classifies before it pools.*load_trained\('.*--onnx"):
            export(store, folder, tmp_path)
        assert not (tmp_path / "out").exists()


class TestCifar:
    @pytest.mark.parametrize("model", ["vgg8", "mobilenetv2_half", "resnet8"])
    def test_by_the_names_of_the_public_files(self, trained, store, tmp_path, model, images):
        student = {"model": f"cifar/{model}"}
        student |= {"params": {"shortcut": "A"}} if model == "resnet8" else {}
        folder = trained(student)
        done = export(store, folder, tmp_path)
        network, classes = load_exported(done.folder)
        assert classes == load_trained(folder.path)[1]
        assert_same(network(images(32)).logits.detach(), folder, images(32))

    def test_imagenet_s_classes_stay_in_the_order_of_the_data_set(self, tmp_path):
        names = ImageNetInfo().label_names()[::-1]
        network = ModelSpec(source="cifar", name="resnet8")
        trunk = build("resnet8", None)
        weight, bias = torch.randn(1000, trunk.dim), torch.randn(1000)
        state = {**trunk.module.state_dict(), "fc.weight": weight, "fc.bias": bias}
        safetensors.torch.save_file(state, tmp_path / "model.safetensors")
        fields = {"model": network.model_dump(mode="json", include=MODEL_FIELDS), "label_names": names}
        write_json(tmp_path / "config.json", {**fields, "mean": [0.5] * 3, "std": [0.25] * 3})
        model, classes = load_exported(tmp_path)
        assert classes == tuple(names)
        assert torch.equal(model.head.weight, weight)
        assert torch.equal(model.head.bias, bias)

    def test_a_suite_takes_the_file_as_weights(self, trained, store, tmp_path):
        folder = trained("cifar/resnet8")
        path = export(store, folder, tmp_path).folder / "model.safetensors"
        head = build("resnet8", Weights(file=str(path))).head
        assert torch.equal(head.weight, load_trained(folder.path)[0].head.weight)


class TestRefusals:
    def test_a_head_that_no_library_builds(self, trained, store, tmp_path):
        folder = trained("timm/test_efficientnet", teachers=TEACHER, arms=REUSED)
        with pytest.raises(ExportError, match=r"not one linear layer but the one of its loss \(simkd\)"):
            export(store, folder, tmp_path)

    def test_a_plugin_s_network(self, trained, store, tmp_path):
        source = tmp_path / "mine.py"
        source.write_text(PLUGIN)
        folder = trained("mine/x", plugins=[str(source)])
        with pytest.raises(ExportError, match="models of 'mine' have no form that another program loads; load it with"):
            export_student(store, folder, ExportOptions(tmp_path / "out", plugins=(source,)))

    def test_a_copy_with_other_logits_is_not_left_behind(self, trained, store, tmp_path, monkeypatch):
        """timm's loader may change what it reads; then the check is all that stands between."""
        folder = trained("timm/test_efficientnet")
        spoil = timm.models._builder.load_state_dict_from_path

        def spoiled(path, **options):
            state = spoil(path, **options)
            return state | {"classifier.bias": state["classifier.bias"] + 0.01}

        monkeypatch.setattr("timm.models._builder.load_state_dict_from_path", spoiled)
        with pytest.raises(ExportError, match=r"loaded by timm, .* gives other logits \(by up to 0.01\)"):
            export(store, folder, tmp_path)
        assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []

    def test_damaged_weights(self, trained, store, tmp_path):
        folder = trained("timm/test_efficientnet")
        with folder.weights.open("r+b") as stream:
            stream.seek(-1, 2)
            stream.write(b"!")
        with pytest.raises(StoreError, match="is missing or damaged"):
            export(store, folder, tmp_path)

    def test_a_folder_that_is_there(self, trained, store, tmp_path):
        folder = trained("timm/test_efficientnet")
        (tmp_path / "out").mkdir()
        with pytest.raises(StoreError, match=r"out exists already; give another folder with --out DIR"):
            export(store, folder, tmp_path)

    def test_a_folder_that_cannot_be_made(self, trained, store, tmp_path):
        folder = trained("timm/test_efficientnet")
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="cannot write to"):
            export_student(store, folder, ExportOptions(tmp_path / "file" / "out"))


PLUGIN = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_students():
    yield Component("mine", f"{__name__}:build", summary="one layer")

def build(name, weights, /):
    from torch import nn
    from benchbench.models.backbone import Trunk
    module = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Trunk(module, 8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
"""


class TestFinding:
    @pytest.fixture
    def many(self, store):
        """Three finished trainings of known keys, and one that has only begun."""
        for key in ("aa00" * 4, "aa11" * 4, "bb00" * 4):
            folder = store.stage("cell", key)
            folder.path.mkdir(parents=True)
            folder.write_record(training_record(key=key * 4, label=f"label {key[:4]}"))
        begun = store.root / "cell" / ("cc00" * 4)
        begun.mkdir()
        write_json(begun / "spec.json", {})
        return store

    @pytest.mark.parametrize("text", ["bb", "bb00bb00bb00bb00", "bb00" * 16, " BB00 "])
    def test_a_beginning_is_enough(self, many, text):
        assert many.find_trained(text).path.name == "bb00" * 4

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("aa", r"2 keys begin with 'aa': aa00aa00aa00aa00 \(label aa00\), aa11.* \(label aa11\); give more of"),
            ("bb01bb", r"no finished training .* begins with 'bb01bb'; did you mean 'bb00bb00'\?"),
            ("bb00" * 15 + "bb01", "no finished training in store .* has a key that begins with"),
            ("cc", "stage cc of store .* is not finished; run its suite to go on with it"),
            ("", "no finished training"),
            ("*", "no finished training"),
            ("../../x", "no finished training"),
        ],
    )
    def test_texts_that_begin_no_key_or_several(self, many, text, message):
        with pytest.raises(StoreError, match=message):
            many.find_trained(text)

    def test_an_empty_store(self, tmp_path):
        message = re.escape("has a key that begins with 'ab'; there is none")
        with pytest.raises(StoreError, match=message):
            Store(tmp_path / "none").find_trained("ab")
