"""The stage that generates images: image by image resumable, each checked, each drawn by a seed of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchbench.errors import StageError
from benchbench.seeds import derive
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.stages.data import training_part
from benchbench.synthesis.base import GenerationRequest, ImageGenerator, Setting
from benchbench.synthesis.shards import Made, Shards, encode, fingerprint, read_shards, summary
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account, Clock

ATTEMPTS = 4
# Images whose brightest and darkest values lie no further apart show nothing: a safety filter's black ones, say.
FLAT = 2 / 255


def run(context: StageContext) -> dict[str, Any]:
    """Makes the images that are not there yet; gives the stage's record.

    Raises:
        StageError: more than half of a class was refused.
    """
    job, device = context.job, torch.device(context.device)
    torch.set_num_threads(context.threads)
    checkpoints = Checkpoints(context.folder, context.checkpoint_seconds, context.meter)
    state = checkpoints.load() or {"seconds": {}}
    clock, account = Clock(device), Account()
    account.carry(state["seconds"], state["seconds"])
    with clock.section("loading", account):
        real, indices = training_part(context)
        setting = Setting(real.classes, real, indices, device, context.needs.get("diffusion"))
        component = context.registry.get("augmenter", job["generator"]["name"])
        params = component.params.model_validate(job["generator"]["params"])
        shards = Shards(context.folder.path)
        wanted = list(_wanted(job, setting))
        there = shards.done()
        left = [place for place in wanted if place not in there]
    with clock.section("setup", account):
        generator: ImageGenerator = component.load()(params, setting)
    maker = _Maker(generator, job, getattr(params, "batch_size", 16))
    begun = len(wanted) - len(left)
    while left:
        with clock.section("generation", account):
            made = maker.make(left[: maker.batch])
        with clock.section("checkpoint", account):
            shards.add(made)
            clock.settle()
            checkpoints.save({"seconds": account.here})
        left = left[len(made) :]
        context.report({"done": len(wanted) - len(left), "total": len(wanted)})
    with clock.section("checkpoint", account):
        shards.finish()
        everything = read_shards(context.folder)
        _refuse_half_a_class(everything, setting.classes)
    clock.settle()
    held = context.held if device.type == "cuda" else torch.get_num_threads()
    found = summary(everything)
    spent = account.here.get("generation", 0.0)
    print(f"{found['images']} images, {begun} of them from an earlier attempt; refused: {found['rejected'] or 'none'}")
    return {
        "metrics": {**found, "images_per_second": found["images"] / spent if spent else None},
        "data": {"names": list(setting.classes), "train": found["images"], "sha256": fingerprint(everything)},
        "synthesis": generator.card,
        "cost": cost_of(account, device, held, context.unit),
        "weights_sha256": None,
    }


def _wanted(job: dict[str, Any], setting: Setting) -> Iterator[tuple[int, int]]:
    """Label and number of every image, class by class."""
    for label in range(len(setting.classes)):
        count = job["per_class"]
        if count is None:
            count = round(job["times"] * len(setting.of_class(label)))
        yield from ((label, index) for index in range(count))


def _refuse_half_a_class(made: Sequence[Made], classes: Sequence[str]) -> None:
    asked, given = Counter(each.label for each in made), Counter(each.label for each in made if each.png is None)
    for label, count in given.items():
        if count > asked[label] / 2:
            why = Counter(reason for each in made if each.label == label for reason in each.refused)
            shown = ", ".join(f"{reason} ({times} times)" for reason, times in why.most_common())
            raise StageError(
                f"{count} of {asked[label]} images of class '{classes[label]}' were refused: {shown}; change its "
                "prompt, model, precision or safety checker"
            )


class _Maker:
    """Draws images in batches, checks each, and draws refused ones anew with other seeds.

    Attributes:
        batch: images at once; less where memory has run out.
    """

    def __init__(self, generator: ImageGenerator, job: dict[str, Any], batch: int):
        self.generator, self.seed, self.size, self.batch = generator, job["seed"], job["size"], batch
        self.shape: tuple[int, ...] | None = None

    def make(self, places: Sequence[tuple[int, int]]) -> list[Made]:
        found: dict[tuple[int, int], Made] = {}
        refused: dict[tuple[int, int], list[str]] = {place: [] for place in places}
        for attempt in range(ATTEMPTS):
            left = [place for place in places if place not in found]
            requests = [GenerationRequest(*place, self._seed(place, attempt)) for place in left]
            for request, image in zip(requests, self._draw(requests), strict=True):
                place = request.label, request.index
                if why := self._fault(image):
                    refused[place].append(why)
                    if attempt < ATTEMPTS - 1:
                        continue
                png = None if why else encode(self._stored(image))
                prompt = self.generator.prompt(request)
                found[place] = Made(*place, request.seed, attempt, prompt, png, tuple(refused[place]))
            if len(found) == len(places):
                break
        return [found[place] for place in places]

    def _seed(self, place: tuple[int, int], attempt: int) -> int:
        return derive(self.seed, "synthesis", *place, attempt)

    def _draw(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        if not requests:
            return []
        if len(requests) > self.batch:
            return [image for part in _parts(requests, self.batch) for image in self._draw(part)]
        try:
            return _checked(self.generator.generate, requests)
        except (torch.OutOfMemoryError, MemoryError) as error:
            if self.batch == 1:
                raise StageError(
                    "memory runs out with one image at a time; take `memory: offload`, or a smaller model"
                ) from error
            self.batch = max(1, min(self.batch, len(requests)) // 2)
            print(f"out of memory: from here on {self.batch} images at once")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._draw(requests)

    def _fault(self, image: np.ndarray) -> str | None:
        """Why an image is not taken; None where it is."""
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 8:
            return "wrong size"
        if self.size is None and self.shape is not None and image.shape != self.shape:
            return "wrong size"
        if not np.isfinite(image).all():
            return "not finite"
        low, high = _unit(image.min()), _unit(image.max())
        if high - low <= FLAT:
            return "black" if high <= FLAT else "one colour"
        self.shape = self.shape or image.shape
        return None

    def _stored(self, image: np.ndarray) -> np.ndarray:
        pixels = image if image.dtype == np.uint8 else np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return pixels if self.size is None else square(pixels, self.size)


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The centre of an image at `size` pixels a side: uint8 [size, size, 3]."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.array(image.resize((size, size), Image.Resampling.LANCZOS))


def _unit(value: Any) -> float:
    return float(value) / 255 if isinstance(value, np.uint8) else float(value)


def _checked(generate: Callable[..., list[np.ndarray]], requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
    images = [np.asarray(image) for image in generate(requests)]
    if len(images) != len(requests):
        raise StageError(f"the generator gave {len(images)} images for {len(requests)} requests")
    return images


def _parts(requests: Sequence[GenerationRequest], count: int) -> Iterator[Sequence[GenerationRequest]]:
    for start in range(0, len(requests), count):
        yield requests[start : start + count]
