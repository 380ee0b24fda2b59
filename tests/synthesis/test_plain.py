"""Generators without a model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchbench.errors import DataError
from benchbench.synthesis import GeneratedFolderParams, SameClassMixupParams
from benchbench.synthesis.base import GenerationRequest
from benchbench.synthesis.plain import GeneratedFolder, SameClassMixup


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = np.full((10, 12, 3), 100 * label + index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_a_folder_gives_its_files_in_order(folder, setting, requests):
    (folder / "manifest.json").write_text(json.dumps({"cat/1.png": {"prompt": "a grey cat"}, "model": "some model"}))
    folder_generator = GeneratedFolder(GeneratedFolderParams(path=folder), setting)
    assert [image[0, 0, 0] for image in folder_generator.generate(requests)] == [0, 1, 2, 100, 101, 102]
    assert [folder_generator.prompt(request) for request in requests] == [None, "a grey cat", None, None, None, None]
    assert folder_generator.card == {"source": "a folder", "model": "some model"}


def test_a_folder_that_lacks_images_or_a_class_is_refused(folder, setting):
    folder_generator = GeneratedFolder(GeneratedFolderParams(path=folder), setting)
    with pytest.raises(DataError, match="dog has 3 images, and number 4 is asked for"):
        folder_generator.generate([GenerationRequest(1, 3, 0)])
    (folder / "dog").rename(folder / "dogs")
    with pytest.raises(DataError, match="no folder for class 'dog'; did you mean 'dogs'"):
        GeneratedFolder(GeneratedFolderParams(path=folder), setting)
    with pytest.raises(DataError, match="has no folders of images"):
        GeneratedFolder(GeneratedFolderParams(path=folder / "absent"), setting)


def test_a_file_that_cannot_be_read_is_an_empty_image(folder, setting, capsys):
    (folder / "cat" / "1.png").write_bytes(b"no image")
    folder_generator = GeneratedFolder(GeneratedFolderParams(path=folder), setting)
    assert folder_generator.generate([GenerationRequest(0, 1, 0)])[0].size == 0
    assert "cat/1.png (it is damaged" in capsys.readouterr().out


def test_files_are_read_as_those_of_a_data_set(folder, setting):
    """Stubs of other systems are no images, and of 16 bits the high byte counts."""
    (folder / "cat" / "._0.png").write_bytes(b"\0\5\26\7Mac OS X")
    Image.fromarray(np.full((10, 12), 40000, np.uint16)).save(folder / "cat" / "3.png")
    folder_generator = GeneratedFolder(GeneratedFolderParams(path=folder), setting)
    first, deep = folder_generator.generate([GenerationRequest(0, index, 0) for index in (0, 3)])
    assert (first[0, 0, 0], deep.max(), deep.min()) == (0, 156, 156)


def test_mixtures_are_of_one_class_and_of_training_images(setting, requests):
    real = setting.real.array.astype(float)
    for request, image in zip(
        requests, SameClassMixup(SameClassMixupParams(), setting).generate(requests), strict=True
    ):
        mine = [real[place] for place in setting.of_class(request.label)]
        best = min(_misfit(image, a, b) for a in mine for b in mine)
        assert best < 0.6  # rounding
        other = [real[place] for place in setting.of_class(1 - request.label)]
        assert min(_misfit(image, a, b) for a in other for b in other) > 10


def _misfit(image, a, b) -> float:
    """The root mean square distance of an image to the line through two others."""
    way = (b - a).ravel()
    share = np.dot(image.ravel() - a.ravel(), way) / np.dot(way, way) if way.any() else 0.0
    return float(np.sqrt(np.mean((a + share * (b - a) - image) ** 2)))


def test_a_class_without_images_is_named(setting):
    alone = replace(setting, indices=setting.indices[::2])
    with pytest.raises(DataError, match="class 'dog' has no training image"):
        SameClassMixup(SameClassMixupParams(), alone).generate([GenerationRequest(1, 0, 0)])
