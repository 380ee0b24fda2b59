"""A stage's data set as loaders."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from benchbench.components import Params
from benchbench.data.decoded import decoded_once
from benchbench.data.images import IGNORED, ImageDataset, ImageSubset
from benchbench.data.loader import Loader, make_loader
from benchbench.data.order import Blend
from benchbench.data.sources.own_images import OwnImagesParams
from benchbench.data.splits import SubsetSize, split_training
from benchbench.data.synthetic import joined, take
from benchbench.data.transforms import Transform, bind_augmenters, bind_mixers
from benchbench.errors import DataError
from benchbench.planning.keys import key_of_identity
from benchbench.specs.parts import DataSpec, RecipeSpec, SyntheticUseSpec, contents_only, tests_only
from benchbench.specs.records import DataRecord, SynthesisRecord
from benchbench.specs.stages import DiffusionSpec, OutputsSpec, QualitySpec, SynthesisSpec, TrainingSpec
from benchbench.stages.context import StageContext
from benchbench.stages.decoding import kept_pixels, with_decoder
from benchbench.synthesis.shards import open_shards
from benchbench.training.cached_outputs import CachedOutputs

# Of a split's key, as the folder of its pixels is called.
KEY_DIGITS = 16
ImageContext = StageContext[TrainingSpec | OutputsSpec | QualitySpec]


class SplitData:
    """The splits of a stage's data set. The test split is read when it is asked for, at the end.

    Attributes:
        train, validation: loaders; `validation` is None where nothing is held out.
        record: class names, sizes, and the checksum of the images.
    """

    def __init__(self, context: ImageContext):
        self._context, self._device = context, torch.device(context.device)
        # Loader processes take cores from the other workers, so a worker of one thread decodes by itself.
        self._workers = 0 if context.threads == 1 else min(8, context.threads)
        spec = context.spec
        raw = load_split(context, "train")
        self._transform, decoder = with_decoder(_transform(context), raw, spec.recipe, self._device)
        images = self._kept(raw, "train")
        part, train, held_out = _split(spec.data, images)
        if isinstance(spec, TrainingSpec) and spec.selection == "best" and not len(held_out):
            raise DataError("no class has an image to spare for validation; take more images, or `selection: last`")
        if isinstance(spec, TrainingSpec) and spec.recipe.early_stop and not len(held_out):
            raise DataError("no class has an image to spare for validation; take more images, or no `early_stop`")
        _require_targets(images, part[train], "train")
        _require_targets(images, part[held_out], "validate")
        self.record = DataRecord(
            names=images.classes,
            train=len(train),
            validation=len(held_out),
            sha256=_checksum(images, part),
            note=_note(context),
            decoder=decoder,
        )
        real, use = ImageSubset(images, part[train]), spec.data.synthetic
        self.train = self._loader(real) if use is None else self._blended(real, use)
        self.validation = self._loader(ImageSubset(images, part[held_out])) if len(held_out) else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, by number."""
        return self.record.names

    def synthetic(self) -> Loader:
        """The generated set that the stage is about, in order."""
        return self._loader(_whole(open_shards(self._context.needs["synthetic"])))

    def test(self) -> Loader:
        """The test images, whose number enters the record."""
        images = self._kept(load_split(self._context, "test"), "test")
        if images.classes != self.classes:
            raise DataError("the test split has other classes than the training split")
        self.record = self.record.model_copy(update={"test": len(images)})
        return self._loader(_whole(images))

    def _kept(self, images: ImageDataset, split: str) -> ImageDataset:
        """A split, decoded once where a GPU would wait for it."""
        if self._device.type != "cuda":
            return images
        side, by_device = kept_pixels(self._transform, self._device)
        key = _content_key(self._context.spec, split, images.version) + (f"-{side}" if side else "")
        return decoded_once(images, self._context.data_root / "decoded" / key, side, by_device)

    def _blended(self, real: ImageSubset, use: SyntheticUseSpec) -> Loader:
        """Real images with the generated ones that a training takes."""
        needs, classes = self._context.needs, real.images.classes
        generated, record = open_shards(needs["synthetic"]), needs["synthetic"].done()
        if generated.classes != classes:
            raise DataError(f"set '{use.set}' has other classes than the data set")
        conditional = not isinstance(record, SynthesisRecord) or record.synthesis.get("conditional") is not False
        if use.labels == "prompt" and not conditional:
            raise DataError(f"the model of set '{use.set}' knows no classes; take `labels: teacher`")
        counts, logits = np.bincount(real.images.labels[real.indices], minlength=len(classes)), None
        if "judge" in needs:
            logits = np.load(needs["judge"].verified_outputs()[1]["synthetic.logits"], allow_pickle=False)
        selection = take(generated, counts, use, logits)
        self.record = self.record.model_copy(update={"synthetic": selection.report})
        images = joined(real.images, real.indices, generated, selection)
        recipe = self._context.spec.recipe
        epochs = recipe.epochs if isinstance(recipe, RecipeSpec) else 1
        share = (use.share.first, use.share.last) if use.share else None
        return self._loader(_whole(images), Blend(len(real.indices), share, epochs))

    def _loader(self, images: ImageSubset, blend: Blend | None = None) -> Loader:
        return make_loader(images, self._transform, self._device, self._workers, blend)


class EmbeddingData:
    """The splits of a data set as a frozen trunk's embeddings; attributes as those of `SplitData`.

    Raises:
        StoreError: the stage that computed them has left none, or damaged ones.
    """

    def __init__(self, outputs: CachedOutputs):
        self._outputs, self.record = outputs, outputs.data
        self.train, self.validation = self._split("train"), outputs.loader("validation")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.record.names

    def test(self) -> Loader:
        return self._split("test")

    def _split(self, split: str) -> Loader:
        loader = self._outputs.loader(split)
        assert loader is not None
        return loader


def training_images(context: StageContext[DiffusionSpec | SynthesisSpec]) -> ImageSubset:
    """The images of a stage's data set that are trained on."""
    images = load_split(context, "train")
    part, train, _ = _split(context.spec.data, images)
    return ImageSubset(images, part[train])


def load_split(
    context: StageContext[TrainingSpec | OutputsSpec | QualitySpec | DiffusionSpec | SynthesisSpec], split: str
) -> ImageDataset:
    """A split of a stage's data set, whole."""
    source, folder = context.spec.data.source, context.spec.data.folder
    component = context.registry.get("dataset", source.name)
    # With the hashes of files: one process may see them before and after a change.
    content = [source.params, folder.as_json() if folder else None]
    params, contents = (json.dumps(each, sort_keys=True) for each in (source.arguments, content))
    return _loaded(component.load(), (component.params, params, contents), context.data_root, split)


@functools.lru_cache(maxsize=2)  # both splits of one data set: a worker's stages mostly share it
def _loaded(
    load: Callable[..., ImageDataset], arguments: tuple[type[Params], str, str], root: Path, split: str
) -> ImageDataset:
    kind, params, _ = arguments
    return load(kind.model_validate_json(params), root, split)


def _note(context: ImageContext) -> str:
    """The source's note on a user's own files: those that are left out, say."""
    source = context.spec.data.source
    params = context.registry.get("dataset", source.name).params.model_validate_json(json.dumps(source.arguments))
    return params.info(context.data_root).note if isinstance(params, OwnImagesParams) else ""


def _transform(context: ImageContext) -> Transform:
    recipe = context.spec.recipe

    def load(name: str) -> Callable[..., Any]:
        return context.registry.get("augmenter", name).load()

    def moves(name: str) -> bool:
        params = context.registry.get("augmenter", name).params
        return "moved" in (params.masks, params.boxes)

    return Transform(
        recipe.image_size,
        recipe.eval_resize,
        bind_augmenters(recipe.augment, load),
        bind_mixers(recipe.mix, load),
        recipe.views,
        context.spec.view_seed,
        moving=frozenset(place for place, each in enumerate(recipe.augment) if moves(each.name)),
    )


def _split(data: DataSpec, images: ImageDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the images that a suite uses, and of these those to train on and those held out."""
    size = SubsetSize(data.fraction, data.per_class, data.subset_seed)
    return split_training(images, size, data.validation)


def _require_targets(images: ImageDataset, indices: np.ndarray, purpose: str) -> None:
    """Raises DataError where images have masks or boxes, and nothing in them counts, so that there is no score."""
    counted: Iterator[bool] = iter(())
    if images.boxes is not None:
        counted = (bool((images.boxes(int(index)).ignored == 0).any()) for index in indices)
    elif images.mask is not None:
        counted = (bool((images.mask(int(index)) != IGNORED).any()) for index in indices)
    else:
        return
    if len(indices) and not any(counted):
        kind, more = "pixel" if images.boxes is None else "object", "" if purpose == "train" else ", or a larger share"
        raise DataError(f"no {kind} of the {len(indices)} images to {purpose} on counts; take more images{more}")


def _content_key(spec: TrainingSpec | OutputsSpec | QualitySpec, split: str, version: str = "") -> str:
    """The identity of a split's pixels: its files, and the code and the library that decode them.

    Args:
        version: of a download.
    """
    data, code = spec.data, spec.components.get(f"dataset/{spec.data.source.name}")
    parts = {
        "source": data.source.as_json(),
        "folder": data.folder.as_json() if data.folder else None,
        "code": code.as_json() if code else None,
        "pillow": PIL.__version__,
        "split": split,
        "test": tests_only(data.source.params) if split == "test" else [],
        **({"version": version} if version else {}),
    }
    return key_of_identity(contents_only(parts))[:KEY_DIGITS]


def _whole(images: ImageDataset) -> ImageSubset:
    return ImageSubset(images, np.arange(len(images)))


def _checksum(images: ImageDataset, part: np.ndarray) -> str | None:
    """sha256 of images in memory, with their labels, masks and boxes.

    None of streamed ones: they are known by the fingerprint in their spec, or by their publisher's.
    """
    if images.array is None:
        return None
    digest = hashlib.sha256(images.labels[part].tobytes())
    digest.update(images.array[part].tobytes())
    for index in map(int, part):
        targets = [] if images.mask is None else [images.mask(index)]
        if images.boxes is not None:
            boxes = images.boxes(index)
            targets += [boxes.corners, boxes.classes, boxes.ignored]
        for each in targets:
            digest.update(f"{each.shape} ".encode() + each.tobytes())
    return digest.hexdigest()
