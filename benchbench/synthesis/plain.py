"""Generators without a model: a folder of finished images, and mixtures of training images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchbench.data.sources.own_images import Reading, decode_own
from benchbench.errors import DataError, did_you_mean, one_line
from benchbench.specs.parts import Json
from benchbench.synthesis import GeneratedFolderParams, SameClassMixupParams
from benchbench.synthesis.base import GenerationRequest, Setting

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class GeneratedFolder:
    """Images in `path/CLASS/`, in the order of their names; `path/manifest.json` may hold their prompts and model.

    Raises:
        DataError: the folder or that of a class is not there.
    """

    def __init__(self, params: GeneratedFolderParams, setting: Setting):
        self.classes, self.files = setting.classes, dict[int, list[Path]]()
        folders = {path.name for path in params.path.iterdir() if path.is_dir()} if params.path.is_dir() else set()
        if not folders:
            raise DataError(f"{params.path} has no folders of images, one for each class")
        for label, name in enumerate(setting.classes):
            if name not in folders:
                raise DataError(f"{params.path} has no folder for class '{name}'; {did_you_mean(name, folders)}")
            self.files[label] = _images_in(params.path / name)
        self.manifest = self._manifest(params.path / "manifest.json")
        self.root = params.path
        self.card: Json = {"source": "a folder", **{k: v for k, v in self.manifest.items() if k == "model"}}

    @staticmethod
    def _manifest(path: Path) -> Json:
        if not path.exists():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {one_line(error)}") from None
        return content if isinstance(content, dict) else {}

    def prompt(self, request: GenerationRequest) -> str | None:
        files = self.files[request.label]
        if request.index >= len(files):
            return None
        entry = self.manifest.get(files[request.index].relative_to(self.root).as_posix())
        return str(entry["prompt"]) if isinstance(entry, dict) and "prompt" in entry else None

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        """The files; one that cannot be read is an empty image, which is refused and counted.

        Raises:
            DataError: a class has fewer files than are asked for.
        """
        images = []
        for request in requests:
            files = self.files[request.label]
            if request.index >= len(files):
                name = self.classes[request.label]
                folder = self.root / name
                raise DataError(f"{folder} has {len(files)} images, and number {request.index + 1} is asked for")
            file = str(files[request.index])
            try:
                images.append(np.array(decode_own(file, file, Reading())))
            except DataError as error:
                print(one_line(error))
                images.append(np.empty((0, 0, 3), np.uint8))
        return images


def _images_in(folder: Path) -> list[Path]:
    """Files by name; hidden ones are stubs that systems write beside images."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


class SameClassMixup:
    """Convex mixtures of two training images of one class (mixup, Zhang et al. 2018, where the labels are equal)."""

    def __init__(self, params: SameClassMixupParams, setting: Setting):
        self.params, self.setting = params, setting
        self.card: Json = {"source": "training images"}

    def prompt(self, request: GenerationRequest) -> str | None:
        return None

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        return [self._one(request) for request in requests]

    def _one(self, request: GenerationRequest) -> np.ndarray:
        random = np.random.default_rng(request.seed)
        indices = self.setting.of_class(request.label)
        if not len(indices):
            raise DataError(f"class '{self.setting.classes[request.label]}' has no training image to mix")
        first, second = (self._image(int(random.choice(indices))) for _ in range(2))
        share = random.beta(self.params.alpha, self.params.alpha)
        other = np.array(Image.fromarray(second).resize(first.shape[1::-1], Image.Resampling.BICUBIC))
        return np.round(share * first + (1 - share) * other).astype(np.uint8)

    def _image(self, index: int) -> np.ndarray:
        real = self.setting.real
        return real.array[index] if real.array is not None else np.array(real.image(index).convert("RGB"))
