"""The key of a split's decoded pixels, and a GPU's loaders, which read them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from benchbench.data.device_streaming import DeviceStreamingLoader
from benchbench.data.images import GROUP, IGNORED, Boxes, ImageDataset
from benchbench.data.jpeg import decoder_problem
from benchbench.data.prefetch import prefetch
from benchbench.data.sources.common import ArrayImages
from benchbench.errors import DataError
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, ComponentVersion, file_json
from benchbench.stages.data import SplitData, _content_key, load_split
from tests.cuda import CUDA, STUB, assert_on_device
from tests.specs import data_spec, recipe_spec, training_spec
from tests.stages.contexts import stage_context


def image_folder(path, content: str = "abc") -> ComponentSpec:
    return ComponentSpec(name="imagefolder", params={"path": file_json(path, content)})


def spec_of(source: ComponentSpec, **changes):
    data = data_spec(source=source, per_class=None)
    return training_spec(data=data, recipe=recipe_spec(image_size=16, batch_size=4), **changes)


def test_the_key_is_that_of_the_content_wherever_it_lies(tmp_path, monkeypatch):
    key = _content_key(spec_of(image_folder(tmp_path / "here")), "train")
    assert _content_key(spec_of(image_folder(tmp_path / "there")), "train") == key
    code = {"dataset/imagefolder": ComponentVersion(version="1", source="s")}
    others = {
        _content_key(spec_of(image_folder(tmp_path / "here")), "test"),
        _content_key(spec_of(image_folder(tmp_path / "here", "other")), "train"),
        _content_key(spec_of(image_folder(tmp_path / "here"), components=code), "train"),
    }
    monkeypatch.setattr(PIL, "__version__", "0.1")
    others.add(_content_key(spec_of(image_folder(tmp_path / "here")), "train"))
    assert len(others | {key}) == 5


@pytest.fixture
def folder(tmp_path):
    """Twelve JPEG files in two classes, and as many to test on."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = random.integers(0, 256, (20 + number, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.jpg")
    return tmp_path / "images"


def loaded(folder, tmp_path, device: str) -> SplitData:
    spec = spec_of(image_folder(folder))
    return SplitData(stage_context(spec, tmp_path / "stage", load_plugins().registry, device=device))


def test_a_cpu_decodes_images_as_they_come(folder, tmp_path):
    data = loaded(folder, tmp_path, "cpu")
    assert len(list(data.train.train_batches(0, 0, 4, 0))) == 3
    assert not list(tmp_path.rglob("decoded"))


def test_pixels_of_a_download_that_was_replaced_are_not_those_of_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("benchbench.stages.data.decoded_once", lambda images, kept, *_: kept)
    data = loaded(folder, tmp_path, "cpu")
    data._device = torch.device("cuda")
    images = load_split(data._context, "train")
    folders = [data._kept(replace(images, version=version), "train") for version in ("one", "one", "two", "")]
    assert folders[0] == folders[1] != folders[2]
    assert folders[3].name == _content_key(data._context.spec, "train")


def test_a_validation_part_of_the_source_is_held_out_as_a_whole(folder, tmp_path):
    shutil.copytree(folder / "test", folder / "val")
    params = {"path": file_json(folder, "abc"), "validation_folder": "val"}
    spec = spec_of(ComponentSpec(name="imagefolder", params=params))
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"per_class": 4, "validation": 0.5})})
    data = SplitData(stage_context(spec, tmp_path / "stage", load_plugins().registry))
    assert (data.record.train, data.record.validation) == (8, 12)
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert data.validation.labels.tolist() == [0] * 6 + [1] * 6


@dataclass(frozen=True)
class Targets:
    """Boxes and masks of images, of which some have one that counts."""

    having: int

    def boxes(self, index: int) -> Boxes:
        ignored = np.array([0 if index == self.having else GROUP], np.uint8)
        return Boxes(np.array([[1, 1, 5, 5]], np.float32), np.zeros(1, np.int64), ignored)

    def mask(self, index: int) -> np.ndarray:
        return np.full((16, 16), 0 if index == self.having else IGNORED, np.uint8)


@pytest.fixture(params=["boxes", "mask"])
def targets(request, tmp_path, monkeypatch):
    """(image that has one that counts, validation part) -> the splits of six images with boxes, or with masks."""
    pixels = np.zeros((6, 16, 16, 3), np.uint8)

    def of(having: int, part: list[int]) -> SplitData:
        images = ImageDataset(
            np.zeros(6, np.int64), ("cell",), ArrayImages(pixels), pixels, validation=np.array(part, int)
        )
        images = replace(images, **{request.param: getattr(Targets(having), request.param)})
        monkeypatch.setattr("benchbench.stages.data.load_split", lambda *_: images)
        monkeypatch.setattr("benchbench.stages.data._note", lambda _: "")  # it reads the folder
        return SplitData(stage_context(spec_of(image_folder(tmp_path)), tmp_path / "stage", load_plugins().registry))

    return of


def test_images_to_train_or_to_validate_on_without_anything_that_counts(targets):
    with pytest.raises(DataError, match=r"no (object|pixel) of the 2 images to validate on counts; take more images"):
        targets(3, [4, 5])
    with pytest.raises(DataError, match=r"no (object|pixel) of the 4 images to train on counts; take more images"):
        targets(4, [4, 5])


def test_masks_and_boxes_are_in_the_checksum(targets):
    one, same, other = (targets(having, []).record.sha256 for having in (0, 0, 1))
    assert one == same != other


def test_a_record_says_why_a_cpu_decodes(folder, tmp_path, capsys):
    spec = spec_of(image_folder(folder))
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"decode": "gpu"})})
    data = SplitData(stage_context(spec, tmp_path / "stage", load_plugins().registry))
    assert data.record.decoder == "CPU (the device is no CUDA GPU)"
    assert capsys.readouterr().out.count("decoded and cropped on the CPU: the device is no CUDA GPU") == 1
    expected = loaded(folder, tmp_path, "cpu")
    assert expected.record.decoder == ""
    for one, two in zip(data.train.train_batches(0, 0, 4, 0), expected.train.train_batches(0, 0, 4, 0), strict=True):
        assert torch.equal(one.images, two.images)


@pytest.mark.cuda
def test_a_gpu_crops_and_decodes_as_far_as_it_can(folder, tmp_path, capsys):
    spec = spec_of(image_folder(folder))
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"decode": "gpu"})})
    data = SplitData(stage_context(spec, tmp_path / "stage", load_plugins().registry, device="cuda"))
    for loader in (data.train, data.test()):
        assert isinstance(loader, DeviceStreamingLoader)
        for batch in prefetch(loader.train_batches(0, 0, 4, 0), CUDA):
            assert_on_device(batch.images, batch.labels, batch.index)
    files = list((tmp_path / "data").rglob("*.npy"))
    if STUB is None and decoder_problem(torch.device("cuda")) is None:
        assert data.record.decoder.startswith("nvJPEG by torchvision ")
        assert files == []
    else:
        assert "nvjpeg" in data.record.decoder
        assert capsys.readouterr().out.count("decoded on the CPU, and cropped on the GPU: ") == 1
        assert {np.load(file).shape for file in files} <= {(20 + number, 24, 3) for number in range(6)}
        assert {folder.name[-3:] for folder in (tmp_path / "data" / "decoded").iterdir() if folder.is_dir()} == {"-32"}


@pytest.mark.cuda
def test_a_gpu_decodes_each_image_once(folder, tmp_path):
    data = loaded(folder, tmp_path, "cuda")
    for epoch in (0, 1):
        batches = list(data.train.train_batches(0, epoch, 4, 0))
        assert {batch.images.device.type for batch in batches} == {"cuda"}
    assert len(list(data.test().test_batches(6))) == 2
    folders = [path for path in (tmp_path / "data" / "decoded").iterdir() if path.is_dir()]
    assert sorted(len(list(each.rglob("*.npy"))) for each in folders) == [12, 12]
