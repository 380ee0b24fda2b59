"""The worst test images of a segmentation's cell, each beside its mask and what the network takes its pixels for.

A stage stores how many pixels of each image are taken for which class, and not where they are: the trained network runs
again on the few images of a sheet, on the CPU. What is found then is compared with what the test found.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchbench.data.images import IGNORED, ImageDataset
from benchbench.data.mask_pictures import class_colours, laid_over
from benchbench.errors import DataError, StoreError, one_line
from benchbench.reports.answer_metrics import image_confusions
from benchbench.reports.page.sheets import NOT_STORED, Sheets, TestedCell, legend, lowest, small, uri_of
from benchbench.statistics.segmentation import mean_iou

if TYPE_CHECKING:
    from torch import nn

SIDE = 96  # pixels of the longer side of a picture, at most
MOST_COLOURS = 24  # in the legend
SAME = 1e-3  # of an image's pixels: rounding on another device changes so many


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


def draw_masks(sheets: Sheets, cell: TestedCell) -> None:
    """Adds the sheet of a segmentation's cell, or a note where there is nothing to show.

    "masks" are (places of image, mask and prediction, number in the test split, IoU), "colours" those of classes.

    Raises:
        DataError: its images are not at hand, or are others than were tested.
        StoreError: its weights or predictions are damaged.
    """
    import torch

    key, counted = cell.stage.key, image_confusions(cell.folder, cell.record)
    if counted is None:
        sheets.by_stage[key] = {"note": NOT_STORED}
        return
    chosen = lowest((mean_iou(each) for each in counted), cell.count)
    if not chosen:
        sheets.by_stage[key] = {"note": "It has every pixel of every test image right."}
        return
    images, model = cell.images(), _network(cell)
    with torch.no_grad():
        shown = {index: _answer(model, cell, images, index, counted[index]) for index, _ in chosen}
    names = {index: ((id(images), index, SIDE), ("mask", id(images), index), (key, index)) for index in shown}
    if not sheets.add_pictures(key, _pictures(sheets, names, shown)):
        return
    total, colours = counted[[*shown]].sum(0), class_colours(len(images.classes))
    note = f"{len(shown)} of {len(counted):,} test images, the lowest mean IoU first; the network ran again on them."
    if (most := max(each.other for each in shown.values())) > SAME:
        note += f" Here up to {100 * most:.1f} % of an image's pixels are taken for another class than in the test."
    sheets.by_stage[key] = {
        "masks": [[*(sheets.places[name] for name in names[index]), index, round(iou, 4)] for index, iou in chosen],
        "colours": legend(images.classes, np.flatnonzero(total.sum(0) + total.sum(1))[:MOST_COLOURS], colours),
        "note": note,
    }


def _pictures(
    sheets: Sheets, names: Mapping[int, tuple[Hashable, ...]], shown: Mapping[int, Answered]
) -> dict[Hashable, str]:
    """Those that the sheets have not yet, by name."""
    return {
        name: uri_of(picture, lossless=max(picture.size) < SIDE)  # colours of single pixels would blur
        for index, each in shown.items()
        for name, picture in zip(names[index], (each.image, each.truth, each.answer), strict=True)
        if name not in sheets.places
    }


def _network(cell: TestedCell) -> nn.Module:
    """The trained network, in eval mode on the CPU; of the store's files only its weights are read, by safetensors."""
    import safetensors.torch

    from benchbench.models.build import build_backbone

    spec = cell.spec
    weights = safetensors.torch.load_file(cell.folder.verified_weights())
    try:
        model = build_backbone(spec.model.without_weights(), spec.role, cell.registry, len(cell.record.data.names))
        model.load_state_dict(weights)
    except Exception as error:  # a plugin's network may raise anything; a page is made all the same
        raise StoreError(f"its network cannot be built again ({one_line(error)})") from None
    return model.eval()


def _answer(model: nn.Module, cell: TestedCell, images: ImageDataset, index: int, counted: np.ndarray) -> Answered:
    import torch

    from benchbench.augmenters.geometric import fitted_shape, letterbox
    from benchbench.data.decoded import pixels_of
    from benchbench.data.transforms import to_float
    from benchbench.models.pixels import enlarged
    from benchbench.training.answers import confusions as count_pixels

    assert images.mask is not None
    size = cell.recipe.image_size
    mask, pixels = images.mask(index), to_float(torch.from_numpy(pixels_of(images, index)).permute(2, 0, 1)[None])
    boxed, masks = letterbox(pixels, torch.from_numpy(mask)[None], size)
    whole = np.bincount(masks[masks != IGNORED].numpy(), minlength=len(counted))
    if not np.array_equal(whole, counted.sum(1)):
        raise DataError("the masks of the test images are not those that were tested")
    logits = model(boxed).logits
    now = count_pixels(logits, masks.long())[0].numpy()
    height, width = fitted_shape((mask.shape[0], mask.shape[1]), size)
    predicted = enlarged(logits, masks).argmax(1)[0, :height, :width].to(torch.uint8).numpy()
    picture, classes = images.image(index).convert("RGB"), len(images.classes)
    other = np.abs(now - counted).sum() / 2 / max(1, counted.sum())
    pictures = [picture, *(laid_over(picture, each, classes) for each in (mask, predicted))]
    image, truth, answer = (small(each, SIDE) for each in pictures)
    return Answered(image, truth, answer, float(other))
