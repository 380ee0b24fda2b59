"""A job's data set as loaders."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchbench.components import Params
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.loader import Loader, make_loader
from benchbench.data.order import Blend
from benchbench.data.splits import hold_out, subset
from benchbench.data.synthetic import SyntheticSelection, joined, take
from benchbench.data.transforms import Transform, bind_augmenters, bind_mixers
from benchbench.errors import DataError
from benchbench.stages.context import StageContext
from benchbench.synthesis.shards import open_shards


class SplitData:
    """The splits of a job's data set. The test split is read when it is asked for, at the end.

    Attributes:
        classes: class names.
        train, validation: loaders; `validation` is None where nothing is held out.
        described: for the record: names, sizes, and the checksum of the images.
    """

    def __init__(self, context: StageContext, device: torch.device):
        job, recipe = context.job["data"], context.job["recipe"]
        component = context.registry.get("dataset", job["source"]["name"])
        self._load = component.load(), component.params, json.dumps(job["source"]["params"], sort_keys=True)
        self._root, self._device, self._context = context.data_root, device, context
        self._taken: SyntheticSelection | None = None

        def load(name: str) -> Callable[..., Any]:
            return context.registry.get("augmenter", name).load()

        augmenters, mixers = bind_augmenters(recipe, load), bind_mixers(recipe, load)
        views, seed = recipe["views"], context.job["view_seed"]
        self._transform = Transform(recipe["image_size"], recipe["eval_resize"], augmenters, mixers, views, seed)
        # Loader processes take cores from the other workers, so a worker of one thread decodes by itself.
        self._workers = 0 if context.threads == 1 else min(8, context.threads)
        images = self._images("train")
        self.classes = images.classes
        part, kept, held = _split(job, images)
        use = job.get("synthetic")
        self.train = self._blended(images, part[kept], use) if use else self._feed(images, part[kept])
        self.validation = self._feed(images, part[held]) if len(held) else None
        if context.job.get("selection") == "best" and not len(held):
            raise DataError("no class has an image to spare for validation; take more images, or `selection: last`")
        self.described: dict[str, Any] = {"names": list(self.classes), "train": len(kept), "validation": len(held)}
        # Streamed sets are known by the fingerprint in their spec, or by their publisher's.
        if images.array is not None:
            pixels = images.labels[part].tobytes() + images.array[part].tobytes()
            self.described["sha256"] = hashlib.sha256(pixels).hexdigest()
        if self._taken is not None:
            self.described["synthetic"] = self._taken.report

    def synthetic(self) -> Loader:
        """The generated set that the stage is about, in order."""
        made = open_shards(self._context.needs["synthetic"])
        return self._feed(made, np.arange(len(made)))

    def _blended(self, real: ImageDataset, indices: np.ndarray, use: dict[str, Any]) -> Loader:
        """Real images with the generated ones that a job takes."""
        needs, recipe = self._context.needs, self._context.job["recipe"]
        made, record = open_shards(needs["synthetic"]), needs["synthetic"].done() or {}
        if made.classes != real.classes:
            raise DataError(f"set '{use['set']}' has other classes than the data set")
        if use["labels"] == "prompt" and record.get("synthesis", {}).get("conditional") is False:
            raise DataError(f"the model of set '{use['set']}' knows no classes; take `labels: teacher`")
        counts, logits = np.bincount(real.labels[indices], minlength=len(real.classes)), None
        if "judged" in needs:
            logits = np.load(needs["judged"].verified_outputs()[1]["synthetic.logits"], allow_pickle=False)
        self._taken = take(made, counts, use, logits)
        whole = joined(real, indices, made, self._taken)
        share = (use["share"]["first"], use["share"]["last"]) if use["share"] else None
        blend = Blend(len(indices), share, recipe.get("epochs", 1))
        return make_loader(ImageSubset(whole, np.arange(len(whole))), self._transform, self._device, self._workers, blend)

    def test(self) -> Loader:
        images = self._images("test")
        if images.classes != self.classes:
            raise DataError("the test split has other classes than the training split")
        self.described["test"] = len(images)
        return self._feed(images, np.arange(len(images)))

    def _images(self, split: str) -> ImageDataset:
        return _loaded(*self._load, self._root, split)

    def _feed(self, images: ImageDataset, indices: np.ndarray) -> Loader:
        return make_loader(ImageSubset(images, indices), self._transform, self._device, self._workers)


def training_part(context: StageContext) -> tuple[ImageDataset, np.ndarray]:
    """The training split of a job's data set, and of it the images that are trained on."""
    job = context.job["data"]
    component = context.registry.get("dataset", job["source"]["name"])
    params = json.dumps(job["source"]["params"], sort_keys=True)
    images = _loaded(component.load(), component.params, params, context.data_root, "train")
    part, kept, _ = _split(job, images)
    return images, part[kept]


def _split(job: dict[str, Any], images: ImageDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the images that a suite takes, and of these those to train on and those held out."""
    part = subset(images.labels, job["fraction"], job["per_class"], job["subset_seed"])
    return part, *hold_out(images.labels[part], job["validation"])


@functools.lru_cache(maxsize=2)  # both splits of one data set: a worker's stages mostly share it
def _loaded(load: Callable[..., ImageDataset], kind: type[Params], params: str, root: Path, split: str) -> ImageDataset:
    return load(kind.model_validate_json(params), root, split)
