"""The worst test images of a segmentation's cell, each beside its mask and what the network takes its pixels for.

A stage stores how many pixels of each image are taken for which class, and not where they are: the trained network runs
again on the few images of a sheet, on the CPU. What is found then is compared with what the test found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchbench.components import Registry
from benchbench.data.images import IGNORED, ImageDataset
from benchbench.data.mask_pictures import laid_over
from benchbench.errors import DataError, StoreError, one_line
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.statistics.segmentation import mean_iou
from benchbench.store import StageFolder

if TYPE_CHECKING:
    from torch import nn

SIDE = 96  # pixels of the longer side of a picture, at most


@dataclass(frozen=True)
class Trained:
    """A finished stage of a segmentation.

    Attributes:
        folder: with its weights.
        spec, record: of the stage.
        registry: the components of its plan.
    """

    folder: StageFolder
    spec: TrainingSpec
    record: TrainingRecord
    registry: Registry


@dataclass(frozen=True)
class Answered:
    """Small pictures of an image.

    Attributes:
        image: itself.
        truth: with its mask laid over.
        answer: with what its pixels are taken for laid over.
        other: share of its pixels that are counted for other classes than in the test, 0..1.
    """

    image: Image.Image
    truth: Image.Image
    answer: Image.Image
    other: float


def worst(confusions: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Indices of images and their mean IoU, the lowest first, of those that are not wholly right.

    Args:
        confusions: pixels of each image by class and predicted class [N, C, C].
        count: images at most.
    """
    ious = [mean_iou(each) for each in confusions]
    order = sorted((iou, index) for index, iou in enumerate(ious) if iou < 1)  # NaN, without pixels, is not below
    return [(index, iou) for iou, index in order[:count]]


def answer(trained: Trained, images: ImageDataset, indices: Sequence[int], confusions: np.ndarray) -> list[Answered]:
    """Runs a network on some test images.

    Args:
        trained: the stage.
        images: its test split.
        indices: of the images.
        confusions: what the test has counted [N, C, C].

    Raises:
        DataError: an image or its mask cannot be read, or is not the one that was tested.
        StoreError: the weights are absent or damaged, or are not of this network.
    """
    import torch

    model = _network(trained)
    with torch.no_grad():
        return [_answer(model, trained, images, index, confusions[index]) for index in indices]


def _network(trained: Trained) -> nn.Module:
    """The trained network, in eval mode on the CPU; of the store's files only its weights are read, by safetensors."""
    import safetensors.torch

    from benchbench.models.build import build_backbone

    spec = trained.spec
    weights = safetensors.torch.load_file(trained.folder.verified_weights())
    try:
        model = build_backbone(
            spec.model.without_weights(), spec.role, trained.registry, len(trained.record.data.names)
        )
        model.load_state_dict(weights)
    except Exception as error:  # a plugin's network may raise anything; a page is made all the same
        raise StoreError(f"its network cannot be built again ({one_line(error)})") from None
    return model.eval()


def _answer(model: nn.Module, trained: Trained, images: ImageDataset, index: int, counted: np.ndarray) -> Answered:
    import torch

    from benchbench.augmenters.geometric import letterbox
    from benchbench.data.decoded import pixels_of
    from benchbench.data.transforms import to_float
    from benchbench.models.pixels import enlarged
    from benchbench.training.answers import confusions as count_pixels

    assert images.mask is not None
    recipe = trained.record.chosen.recipe if trained.record.chosen is not None else trained.spec.recipe
    mask, pixels = images.mask(index), to_float(torch.from_numpy(pixels_of(images, index)).permute(2, 0, 1)[None])
    boxed, masks = letterbox(pixels, torch.from_numpy(mask)[None], recipe.image_size)
    whole = np.bincount(masks[masks != IGNORED].numpy(), minlength=len(counted))
    if not np.array_equal(whole, counted.sum(1)):
        raise DataError("the masks of the test images are not those that were tested")
    logits = model(boxed).logits
    now = count_pixels(logits, masks.long())[0].numpy()
    scale = recipe.image_size / max(mask.shape)
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    predicted = enlarged(logits, masks).argmax(1)[0, :height, :width].to(torch.uint8).numpy()
    picture, classes = images.image(index).convert("RGB"), len(images.classes)
    other = np.abs(now - counted).sum() / 2 / max(1, counted.sum())
    pictures = [picture, *(laid_over(picture, each, classes) for each in (mask, predicted))]
    for each in pictures:
        each.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return Answered(pictures[0], pictures[1], pictures[2], float(other))
