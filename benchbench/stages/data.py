"""A job's data set as feeds."""

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
from benchbench.data.feeds import Feed, Pipeline, bind_augmenters, make_feed
from benchbench.data.images import ImageSet
from benchbench.data.splits import hold_out, subset
from benchbench.errors import DataError
from benchbench.stages.context import StageContext


class SplitData:
    """The splits of a job's data set. The test split is read when it is asked for, at the end.

    Attributes:
        classes: class names.
        train, validation: feeds; `validation` is None where nothing is held out.
        described: for the record: names, sizes, and the checksum of the images.
    """

    def __init__(self, context: StageContext, device: torch.device):
        job, recipe = context.job["data"], context.job["recipe"]
        component = context.registry.get("dataset", job["source"]["name"])
        self._load = component.load(), component.params, json.dumps(job["source"]["params"], sort_keys=True)
        self._root, self._device = context.data_root, device
        augmenters = bind_augmenters(recipe, lambda name: context.registry.get("augmenter", name).load())
        views, seed = recipe["views"], context.job["view_seed"]
        self._pipeline = Pipeline(recipe["image_size"], recipe["eval_resize"], augmenters, views, seed)
        # Loader processes take cores from the other workers, so a worker of one thread decodes by itself.
        self._workers = 0 if context.threads == 1 else min(8, context.threads)
        images = self._images("train")
        self.classes = images.classes
        part = subset(images.labels, job["fraction"], job["per_class"], job["subset_seed"])
        kept, held = hold_out(images.labels[part], job["validation"])
        self.train = self._feed(images, part[kept])
        self.validation = self._feed(images, part[held]) if len(held) else None
        if context.job.get("selection") == "best" and not len(held):
            raise DataError("no class has an image to spare for validation; take more images, or `selection: last`")
        self.described: dict[str, Any] = {"names": list(self.classes), "train": len(kept), "validation": len(held)}
        # Streamed sets are known by the fingerprint in their spec, or by their publisher's.
        if images.array is not None:
            pixels = images.labels[part].tobytes() + images.array[part].tobytes()
            self.described["sha256"] = hashlib.sha256(pixels).hexdigest()

    def test(self) -> Feed:
        images = self._images("test")
        if images.classes != self.classes:
            raise DataError("the test split has other classes than the training split")
        self.described["test"] = len(images)
        return self._feed(images, np.arange(len(images)))

    def _images(self, split: str) -> ImageSet:
        return _loaded(*self._load, self._root, split)

    def _feed(self, images: ImageSet, indices: np.ndarray) -> Feed:
        return make_feed(images, indices, self._pipeline, self._device, self._workers)


@functools.lru_cache(maxsize=2)  # both splits of one data set: a worker's stages mostly share it
def _loaded(load: Callable[..., ImageSet], kind: type[Params], params: str, root: Path, split: str) -> ImageSet:
    return load(kind.model_validate_json(params), root, split)
