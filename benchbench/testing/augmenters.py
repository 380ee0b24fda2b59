"""The contract of an augmenter: a pure function of images, size and generator, that gives images again.

One that mixes images is a function of images and generator; it gives each image's partner and share as well.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchbench.components import Component
from benchbench.statistics.masks import IGNORED
from benchbench.testing import generators
from benchbench.testing.check import Call, Options, require

SIZE = 32
# (images, height, width): square and not, larger than the size asked for, equal to it and smaller.
SHAPES = ((5, 40, 40), (3, 48, 36), (4, 32, 32), (4, 20, 20))

# Share of the pixels that an image resized smoothly and its mask may differ in: those along an edge.
EDGE = 0.02
# Pixels by which a side of a box may lie off what it encloses: that is seen on whole pixels alone.
OFF = 1.5
# A patch of images of `WHOLE` pixels a side: no mirroring or turn brings it to its own place, and blocks of JPEG end
# where it does. Blurring moves a little of it past the next pixels.
WHOLE, PATCH, NEAR = 64, (slice(16, 32), slice(48, 64)), (slice(15, 33), slice(47, 64))
# Share of a change in the patch that is seen farther off where pixels move; blurring and noise leave less there.
MOVED = 0.6


@dataclass(frozen=True)
class AugmenterCase:
    """An augmenter with parameters."""

    component: Component
    params: Mapping[str, Any] = field(default_factory=dict)

    def images(self, count: int = 5, height: int = 40, width: int = 40) -> Tensor:
        generator = torch.Generator().manual_seed(count * height + width)
        return torch.rand(count, 3, height, width, generator=generator)

    def run(self, images: Tensor, seed: int = 0) -> Tensor:
        """The images of one call, as the pipeline makes it."""
        if self.component.mixes:
            return self.mix(images, seed)[0]
        return self.component.load()(images, SIZE, Generator().manual_seed(seed), **self.params)

    def mix(self, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Images, partners and shares of one call."""
        result = self.component.load()(images, Generator().manual_seed(seed), **self.params)
        form = isinstance(result, tuple) and len(result) == 3 and all(isinstance(each, Tensor) for each in result)
        require(form, f"it gives {_kind(result)}: an augmenter that mixes gives (images, partner, share)")
        return result


def check_shape(case: AugmenterCase) -> None:
    """Output: as many images as the input has, of three channels, as a float32 tensor without a gradient."""
    for shape in SHAPES:
        images = case.images(*shape)
        result = case.run(images)
        where = f"for images of shape {list(images.shape)}"
        require(isinstance(result, Tensor), f"it gives a {type(result).__name__} {where}: give a tensor [B, 3, H, W]")
        same_batch = result.ndim == 4 and result.shape[:2] == images.shape[:2] and min(result.shape) > 0
        require(same_batch, f"it gives shape {list(result.shape)} {where}: keep the batch and the three channels")
        require(result.dtype == images.dtype, f"it gives {result.dtype} for {images.dtype}: convert the result")
        require(not result.requires_grad, "its result requires a gradient: compute without one")


def check_mixture(case: AugmenterCase) -> None:
    """Partners are indices in the batch, and shares are those of each image's own in the mixture."""
    for shape in SHAPES:
        count = shape[0]
        # Of one colour each, so that the mean of a mixture shows its parts.
        own = (torch.arange(count) + 0.5) / count
        images = own.view(-1, 1, 1, 1).expand(count, 3, *shape[1:]).contiguous()
        for seed in range(3):
            mixed, partner, share = case.mix(images, seed)
            same_shape = mixed.shape == images.shape
            require(
                same_shape, f"it gives shape {list(mixed.shape)} for {list(images.shape)}: a mixture keeps the shape"
            )
            indices = partner.dtype == torch.int64 and partner.shape == own.shape
            require(indices, f"partners are {partner.dtype} {list(partner.shape)}: give int64 [B]")
            require(partner.min() >= 0 and partner.max() < count, "a partner is not in the batch: give indices in it")
            shares = share.dtype == torch.float32 and share.shape == own.shape
            require(shares, f"shares are {share.dtype} {list(share.shape)}: give float32 [B]")
            require(share.min() >= 0 and share.max() <= 1, "a share is not in 0..1")
            expected = share * own + (1 - share) * own[partner]
            close = torch.allclose(mixed.mean((1, 2, 3)), expected, atol=1e-4)
            require(close, "images hold another share of themselves, or another partner, than it returns")
            again = case.mix(images, seed)
            same = torch.equal(partner, again[1]) and torch.equal(share, again[2])
            require(same, "the same generator gives other partners or shares: draw from the generator that is passed")


def check_range(case: AugmenterCase) -> None:
    """Pixels stay in 0..1, at the ends of the range too."""
    for name, images in (
        ("random", case.images()),
        ("black", torch.zeros(4, 3, 40, 40)),
        ("white", torch.ones(4, 3, 40, 40)),
    ):
        for seed in range(3):
            result = case.run(images, seed)
            require(result.isfinite().all(), f"{name} images become NaN or infinite: look for a division by 0")
            low, high = result.min().item(), result.max().item()
            inside = low >= -1e-5 and high <= 1 + 1e-5
            require(inside, f"{name} images leave 0..1 (they reach {low:.3g} and {high:.3g}): end with .clamp(0, 1)")


def check_generator(case: AugmenterCase) -> None:
    """All randomness comes from the generator: a resumed run must see the images that an uninterrupted one would."""
    images = case.images()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    first = case.run(images)
    before = _global_states()
    second = case.run(images)
    require(
        first.shape == second.shape and torch.equal(first, second),
        "the same generator gives other images: draw from the generator that is passed, torch.rand(..., "
        "generator=generator)",
    )
    same = before == _global_states()
    require(same, "it draws from a global random state: pass generator=generator to every draw")


def check_input(case: AugmenterCase) -> None:
    """The images that come in stay as they are."""
    images = case.images()
    before = images.clone()
    case.run(images)
    require(torch.equal(images, before), "it changes its input: write into a copy, not in place")


def check_single(case: AugmenterCase) -> None:
    """A batch of one, which is how images that stream from disk come."""
    result = case.run(case.images(count=1))
    require(len(result) == 1, f"one image becomes {len(result)}")


def check_pickles(case: AugmenterCase) -> None:
    """The target pickles, for loader processes."""
    try:
        pickle.dumps(case.component.load())
    except Exception as error:
        raise AssertionError("it does not pickle: define it at the top level of its module") from error


def check_masks(case: AugmenterCase) -> None:
    """Masks move with the images that they are of, by the same draws."""
    for shape in SHAPES:
        masks = torch.zeros(shape, dtype=torch.uint8)
        masks[:, 4:15, 6:13] = 1
        images = masks[:, None].float().expand(-1, 3, -1, -1).contiguous()
        moved, moved_masks = case.component.load()(images, SIZE, Generator().manual_seed(0), **case.params, masks=masks)
        require(moved_masks.dtype == torch.uint8, f"masks become {moved_masks.dtype}: keep uint8")
        require(moved.shape[-2:] == moved_masks.shape[-2:], "masks get another size than their images")
        alone = case.component.load()(images, SIZE, Generator().manual_seed(0), **case.params)
        require(torch.equal(moved, alone), "images move otherwise with masks than without: make the same draws")
        inside = moved_masks != IGNORED
        differ = ((moved[:, 0] - moved_masks.float()).abs() > 0.5) & inside
        require(float(differ.float().mean()) < EDGE, "masks are not where their images are")


def check_kept(case: AugmenterCase) -> None:
    """One that keeps masks moves no pixel: a change of some pixels is seen where they are."""
    images = case.images(16, WHOLE, WHOLE)
    rows, columns = PATCH
    pixels = images[:, :, rows, columns].flatten(2)
    # The same pixels in another order: what an augmenter reads of a whole image (its mean, its darkest) stays.
    order = torch.randperm(pixels.shape[-1], generator=Generator().manual_seed(0))
    changed = images.clone()
    changed[:, :, rows, columns] = pixels[:, :, order].view(len(images), 3, 16, 16)
    advice = 'say masks = "moved" and move them, or say nothing of masks'
    for seed in range(8):
        before, after = case.run(images.clone(), seed), case.run(changed.clone(), seed)
        require(before.shape == images.shape, f"it keeps masks, and changes the size of images: {advice}")
        difference = (after - before).abs()
        largest = difference.amax((1, 2, 3))
        difference[:, :, NEAR[0], NEAR[1]] = 0
        moved = (difference.amax((1, 2, 3)) > MOVED * largest) & (largest > 0.05)
        require(not moved.any(), f"it keeps masks, and moves pixels: {advice}")


def check_boxes(case: AugmenterCase) -> None:
    """Boxes move with what they enclose, by the same draws."""
    target = case.component.load()
    for shape in SHAPES:
        count, height, width = shape
        boxes = torch.tensor([[4, 3, 13, 15], [8, 10, 17, 18]], dtype=torch.float32).expand(count, -1, -1).contiguous()
        images = torch.zeros(count, 3, height, width)
        for channel, (left, top, right, bottom) in enumerate(boxes[0].int().tolist()):
            images[:, channel, top:bottom, left:right] = 1
        for seed in range(3):
            given = target(images, SIZE, Generator().manual_seed(seed), **case.params, boxes=boxes)
            pair = isinstance(given, tuple) and len(given) == 2 and all(isinstance(each, Tensor) for each in given)
            require(pair, f"it gives {_kind(given)} for images with boxes: give (images, boxes)")
            moved, corners = given
            fits = corners.shape == boxes.shape and corners.is_floating_point()
            form = f"{list(boxes.shape)} become {corners.dtype} {list(corners.shape)}"
            require(fits, f"boxes of shape {form}: give the corners of each in pixels, as floats")
            alone = target(images, SIZE, Generator().manual_seed(seed), **case.params)
            require(torch.equal(moved, alone), "images move otherwise with boxes than without: make the same draws")
            _check_corners(moved, corners)


def _check_corners(images: Tensor, corners: Tensor) -> None:
    """Boxes [B, 2, 4] are those of what is bright in the first two channels, as far as that is in the image."""
    excess = []
    for image, boxes in zip(images, corners, strict=True):
        for channel, box in zip(image[:2], boxes.tolist(), strict=True):
            rows, columns = (channel > 0.5).nonzero(as_tuple=True)
            if len(rows) < 4:  # it has left the image
                continue
            sides = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            limits = [channel.shape[1], channel.shape[0]] * 2
            low, high = box[:2], box[2:]
            outer = [*(max(0, side) for side in low), *(min(*pair) for pair in zip(high, limits[2:], strict=True))]
            beyond = [float(side) - edge for side, edge in zip(sides, outer, strict=True)]
            beyond[2:] = [-value for value in beyond[2:]]  # how far the box reaches beyond what it encloses
            require(min(beyond) >= -OFF, "boxes do not enclose what they did: move their corners with the images")
            excess.append(max(beyond))
    if excess:
        require(torch.tensor(excess).median() <= 2 * OFF, "boxes are larger than what they enclose")


AugmenterCheck = Callable[[AugmenterCase], str | None]
CHECKS: Mapping[str, AugmenterCheck] = {
    "shape": check_shape,
    "range": check_range,
    "generator": check_generator,
    "input": check_input,
    "single": check_single,
    "pickles": check_pickles,
}
# By what becomes of the targets of images.
MASK_CHECKS: Mapping[str | None, Mapping[str, AugmenterCheck]] = {
    "kept": {"kept": check_kept},
    "moved": {"masks": check_masks},
}
BOX_CHECKS: Mapping[str | None, Mapping[str, AugmenterCheck]] = {"moved": {"boxes": check_boxes}}
MIXING_CHECKS: Mapping[str, AugmenterCheck] = {"mixture": check_mixture, **CHECKS}


def cases(component: Component, kind: str, options: Options) -> dict[str, Call]:
    """Every check of an augmenter, ready to run."""
    if component.generates:
        return generators.cases(component, options)
    case = AugmenterCase(component, options.params_of(component).model_dump(mode="json"))
    return {name: partial(check, case) for name, check in checks_for(component).items()}


def checks_for(component: Component) -> Mapping[str, AugmenterCheck]:
    """The checks of an augmenter by name."""
    if component.mixes:
        return MIXING_CHECKS
    return {**CHECKS, **MASK_CHECKS.get(component.params.masks, {}), **BOX_CHECKS.get(component.params.boxes, {})}


def _kind(result: object) -> str:
    """An augmenter's result in a few words."""
    return f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"


def _global_states() -> list[str]:
    """States of Python's, NumPy's and torch's own generators."""
    return [str(random.getstate()), str(np.random.get_state(legacy=False)), str(torch.get_rng_state().tolist())]
