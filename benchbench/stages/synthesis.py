"""The stage that generates images: resumable image by image, each checked, each drawn by a seed of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchbench.errors import StageError, clear_frames, is_out_of_memory
from benchbench.hardware.memory import free_memory
from benchbench.seeds import derive
from benchbench.specs.records import DataRecord, Progress, SynthesisRecord
from benchbench.specs.stages import SynthesisSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import training_images
from benchbench.stages.timer import ResumableTimer, TimedState
from benchbench.synthesis.base import GenerationRequest, ImageGenerator, Setting
from benchbench.synthesis.shards import GeneratedImage, Shards, encode, fingerprint, read_shards, summary

ATTEMPTS = 4
# Images whose brightest and darkest values lie no further apart show nothing: a safety filter's black ones, say.
FLAT = 2 / 255
# Label, and index within the class.
ImageId = tuple[int, int]


def run(context: StageContext[SynthesisSpec]) -> StageResult:
    """Generates the images that the shards do not hold yet.

    Raises:
        StageError: more than half of a class was refused.
    """
    timer = ResumableTimer[TimedState](context)
    timer.load(context.threads)
    with timer.section("loading"):
        setting, shards = _setting(context, timer.device), Shards(context.folder.path)
        ids, earlier = _image_ids(context.spec, setting), shards.done()
        missing = [image_id for image_id in ids if image_id not in earlier]
    with timer.section("setup"):
        drawing = _drawing(context, setting)
    while missing:
        with timer.section("generation"):
            images = drawing.draw(missing[: drawing.batch_size])
        with timer.section("checkpoint"):
            shards.add(images)
        timer.save({"seconds": timer.account.here})
        missing = missing[len(images) :]
        context.report(Progress(done=len(ids) - len(missing), total=len(ids)))
    with timer.section("checkpoint"):
        shards.finish()
        images = read_shards(context.folder)
        _refuse_half_a_class(images, setting.classes)
    cost, metrics = timer.cost(), summary(images)
    print(f"{metrics.images} images, {len(earlier)} from an earlier attempt; refused: {metrics.rejected or 'none'}")
    seconds = cost.seconds.get("generation", 0.0)
    record = SynthesisRecord(
        metrics=metrics.model_copy(update={"images_per_second": metrics.images / seconds if seconds else None}),
        data=DataRecord(names=setting.classes, train=metrics.images, sha256=fingerprint(images)),
        synthesis=drawing.generator.card,
        cost=cost,
    )
    return StageResult(record)


def _setting(context: StageContext[SynthesisSpec], device: torch.device) -> Setting:
    real = training_images(context)
    return Setting(real.images.classes, real.images, real.indices, device, context.needs.get("diffusion"))


def _drawing(context: StageContext[SynthesisSpec], setting: Setting) -> _Drawing:
    spec = context.spec
    component = context.registry.get("augmenter", spec.generator.name)
    params = component.params.model_validate(spec.generator.arguments)
    return _Drawing(component.load()(params, setting), spec, getattr(params, "batch_size", 16))


def _image_ids(spec: SynthesisSpec, setting: Setting) -> list[ImageId]:
    """The identity of every image of the set, class by class."""
    ids: list[ImageId] = []
    for label in range(len(setting.classes)):
        count = spec.per_class
        if count is None:
            assert spec.times is not None
            count = round(spec.times * len(setting.of_class(label)))
        ids += ((label, index) for index in range(count))
    return ids


def _refuse_half_a_class(images: Sequence[GeneratedImage], classes: Sequence[str]) -> None:
    requested = Counter(image.label for image in images)
    given_up = Counter(image.label for image in images if image.png is None)
    for label, count in given_up.items():
        if count > requested[label] / 2:
            reasons = Counter(reason for image in images if image.label == label for reason in image.refused)
            summaries = ", ".join(f"{reason} ({times} times)" for reason, times in reasons.most_common())
            raise StageError(
                f"{count} of {requested[label]} images of class '{classes[label]}' were refused: {summaries}; change "
                "its prompt, model, precision or safety checker"
            )


class _Drawing:
    """Draws images in batches, checks each, and draws refused ones anew with other seeds.

    Attributes:
        generator: draws them.
        batch_size: images at once; less where memory has run out.
    """

    def __init__(self, generator: ImageGenerator, spec: SynthesisSpec, batch_size: int):
        self.generator, self.seed, self.size, self.batch_size = generator, spec.seed, spec.size, batch_size

    def draw(self, ids: Sequence[ImageId]) -> list[GeneratedImage]:
        """Images, or what is known of those that were refused at every attempt."""
        images: dict[ImageId, GeneratedImage] = {}
        reasons: dict[ImageId, list[str]] = {image_id: [] for image_id in ids}
        for attempt in range(ATTEMPTS):
            missing = [image_id for image_id in ids if image_id not in images]
            requests = [GenerationRequest(*image_id, self._seed(image_id, attempt)) for image_id in missing]
            for image_id, request, pixels in zip(missing, requests, self._generate(requests), strict=True):
                if reason := self._fault(pixels):
                    reasons[image_id].append(reason)
                    if attempt < ATTEMPTS - 1:
                        continue
                png = None if reason else encode(self._stored(pixels))
                prompt = self.generator.prompt(request)
                images[image_id] = GeneratedImage(
                    *image_id, request.seed, attempt, prompt, png, tuple(reasons[image_id])
                )
            if len(images) == len(ids):
                break
        return [images[image_id] for image_id in ids]

    def _seed(self, image_id: ImageId, attempt: int) -> int:
        return derive(self.seed, "synthesis", *image_id, attempt)

    def _generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        if not requests:
            return []
        if len(requests) > self.batch_size:
            return [image for part in _parts(requests, self.batch_size) for image in self._generate(part)]
        try:
            return _checked(self.generator.generate, requests)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if self.batch_size == 1:
                raise StageError(
                    "memory runs out with one image at a time; take `memory: offload`, or a smaller model"
                ) from error
            clear_frames(error)
            self.batch_size = max(1, min(self.batch_size, len(requests)) // 2)
            print(f"out of memory: from here on {self.batch_size} images at once")
        free_memory("cuda" if torch.cuda.is_available() else "cpu")
        return self._generate(requests)

    def _fault(self, image: np.ndarray) -> str | None:
        """The reason to refuse an image, if there is one: its own alone, whatever images a stage has drawn before."""
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 8:
            return "wrong size"
        if not np.isfinite(image).all():
            return "not finite"
        low, high = _unit(image.min()), _unit(image.max())
        if high - low <= FLAT:
            return "black" if high <= FLAT else "one colour"
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
