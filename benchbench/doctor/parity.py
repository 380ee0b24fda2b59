"""Every loss, augmenter and loader on the device, beside the CPU: finite, equal within a tolerance, without waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchbench.augmenters.geometric import flip, random_crop
from benchbench.components import Component, Registry
from benchbench.data.batch import Batch
from benchbench.data.device_streaming import DeviceStreamingLoader
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.loader import Loader
from benchbench.data.prefetch import prefetch
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform
from benchbench.doctor.finding import Finding
from benchbench.doctor.waiting import noted_waits
from benchbench.errors import StageError, one_line
from benchbench.execution.tf32 import tf32_convolutions
from benchbench.testing.augmenters import AugmenterCase
from benchbench.testing.losses import PAIRS, LossCase, leaves, run

SECTION = "components"
CPU = torch.device("cpu")
# Largest difference from the CPU, relative to the size of the values: of losses' terms and of their gradients; and of
# images, whose values lie in 0..1, on average.
TOLERANCE = 1e-3
IMAGES, BATCH, SIZE = 32, 8, 32


@dataclass(frozen=True)
class Comparison:
    """One component on a device, beside the CPU.

    Attributes:
        name: its name.
        failure: the reason why it does not work on the device; None where it does.
        deviation: from the CPU; None where the two draw other random numbers.
        waits: places at which the host waits for the device.
        skipped: why it was not tried.
    """

    name: str
    failure: str | None = None
    deviation: float | None = None
    waits: tuple[str, ...] = ()
    skipped: str = ""


def look(registry: Registry, device: torch.device) -> Iterator[Finding]:
    """All findings, kind by kind."""
    losses = _components(registry, "loss")
    augmenters = [each for each in _components(registry, "augmenter") if not each.generates]
    with tf32_convolutions(device, allowed=False):
        yield from findings_of("losses", [_guarded(compare_loss, each, device) for each in losses])
        yield from findings_of("augmenters", [_guarded(compare_augmenter, each, device) for each in augmenters])
        yield from findings_of("loaders", [compare_loader(name, device) for name in LOADERS])


def _components(registry: Registry, kind: str) -> list[Component]:
    return [offers[0].component for offers in registry.offers[kind].values() if len(offers) == 1]


def _guarded(
    compare: Callable[[Component, torch.device], Comparison], component: Component, device: torch.device
) -> Comparison:
    """A comparison in which an exception of the component is its failure."""
    try:
        component.params()
    except ValueError:
        return Comparison(component.name, skipped="it has parameters without a default")
    try:
        return compare(component, device)
    except Exception as error:  # of the component, which may be a plugin's
        return Comparison(component.name, one_line(error)[:300])


def compare_loss(component: Component, device: torch.device) -> Comparison:
    """A loss on outputs of two small networks: terms, and gradients to the student."""
    case = _accepted(LossCase(component, device=device))
    if case is None:
        return Comparison(component.name, skipped="it refuses every pair of networks that is tried")
    actual, again = _loss_values(case, seed=5), _loss_values(case, seed=6)
    loss = case.build()
    run(loss, case.step())
    step = case.step(seed=1)
    with noted_waits(device) as waits:
        total, _ = run(loss, step)
        if total.requires_grad:
            total.backward()
    if failure := _unsound(actual, device):
        return Comparison(component.name, failure, waits=tuple(waits))
    if device == CPU or any(not torch.equal(one, other) for one, other in zip(actual, again, strict=True)):
        return Comparison(component.name, waits=tuple(waits))
    expected = _loss_values(LossCase(component, pair=case.pair), seed=5)
    return Comparison(component.name, None, _relative(actual, expected), tuple(waits))


def _accepted(case: LossCase) -> LossCase | None:
    """The case on the first pair of networks that the loss accepts."""
    for pair in PAIRS:
        attempt = LossCase(case.component, case.params, pair, case.device)
        try:
            attempt.build()
            return attempt
        except StageError:
            continue
    return None


def _loss_values(case: LossCase, seed: int) -> list[Tensor]:
    """Terms, and the gradients to the student's outputs."""
    step = case.step()
    total, terms = run(case.build(), step, seed)
    if total.requires_grad:
        total.backward()
    gradients = [tensor.grad for tensor in leaves(step[0]) if tensor.grad is not None]
    return [each.detach() for each in (*terms.values(), *gradients)]


def compare_augmenter(component: Component, device: torch.device) -> Comparison:
    """An augmenter on a batch of noise."""
    case = AugmenterCase(component, component.params().model_dump(mode="json"))
    images = case.images(BATCH)
    on_device = images.to(device)
    actual = [case.run(on_device)]
    with noted_waits(device) as waits:
        actual.append(case.run(on_device))  # on a GPU the second run may be a CUDA graph
    if failure := _unsound(actual, device):
        return Comparison(component.name, failure, waits=tuple(waits))
    deviation = None if device == CPU else _mean_difference(actual, [case.run(images)] * len(actual))
    return Comparison(component.name, None, deviation, tuple(waits))


def compare_loader(name: str, device: torch.device) -> Comparison:
    """One epoch of a loader: images, labels and their order."""
    try:
        batches = _epoch(LOADERS[name](device), device)
        with noted_waits(device) as waits:
            batches = _epoch(LOADERS[name](device), device)
        if failure := _unsound([each for batch in batches for each in (batch.images, batch.labels)], device):
            return Comparison(name, failure, waits=tuple(waits))
        # The images and the order of an epoch are copied once each; only what comes with every batch counts.
        often = tuple(sorted({place for place in waits if waits.count(place) >= IMAGES // BATCH}))
        if device == CPU:
            return Comparison(name, waits=often)
        expected = _epoch(LOADERS[name](CPU), CPU)
        if any(not torch.equal(one.index.cpu(), other.index) for one, other in zip(batches, expected, strict=True)):
            return Comparison(name, "its order is another one than on the CPU", waits=often)
        images = [[batch.images for batch in each] for each in (batches, expected)]
        return Comparison(name, None, _mean_difference(*images), often)
    except Exception as error:  # of processes and of memory, too
        return Comparison(name, one_line(error)[:300])


def _epoch(loader: Loader, device: torch.device) -> list[Batch]:
    return list(prefetch(loader.train_batches(0, 0, BATCH, 0), device))


def _subset() -> ImageSubset:
    array = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    return ImageSubset(
        ImageDataset(np.arange(IMAGES) % 4, tuple("abcd"), _Photographs(array), array), np.arange(IMAGES)
    )


class _Photographs:
    """Images by number, for loader processes."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __call__(self, index: int) -> Image.Image:
        return Image.fromarray(self.array[index])


def _transform() -> Transform:
    return Transform(SIZE, None, [partial(random_crop, padding=4, resize=None), partial(flip, probability=0.5)])


LOADERS: dict[str, Callable[[torch.device], Loader]] = {
    "in memory": lambda device: InMemoryLoader(_subset(), _transform(), device),
    "streaming": lambda device: StreamingLoader(_subset(), _transform(), device, 1),
    "cropped on the device": lambda device: DeviceStreamingLoader(_subset(), _transform(), device, 1),
}


def _unsound(tensors: Sequence[Tensor], device: torch.device) -> str | None:
    """Faults of tensors that should be on a device, and finite."""
    for tensor in tensors:
        if tensor.device.type != device.type:
            return f"a result is on {tensor.device.type}"
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return "a result is not finite"
    return None


def _relative(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of two lists of tensors, relative to the second's size."""
    largest = 0.0
    for one, other in zip(actual, expected, strict=True):
        size = float(other.double().norm()) + 1e-6
        largest = max(largest, float((one.cpu().double() - other.double()).norm()) / size)
    return largest


def _mean_difference(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest mean difference of images; a few pixels may fall to the other side of a border by rounding."""
    pairs = zip(actual, expected, strict=True)
    return max(float((one.cpu().double() - other.double()).abs().mean()) for one, other in pairs)


def findings_of(kind: str, comparisons: Sequence[Comparison]) -> Iterator[Finding]:
    """One finding for all that are well, and one for each that is not."""
    for each in comparisons:
        name = f"{kind}: {each.name}"
        if each.failure is not None:
            yield Finding(
                SECTION, name, "problem", each.failure, f"leave '{each.name}' out on this device, and report it"
            )
        elif each.deviation is not None and not each.deviation <= TOLERANCE:
            text = f"differs from the CPU by {each.deviation:.1e}, more than {TOLERANCE:.0e}"
            yield Finding(
                SECTION, name, "problem", text, "its results on this device are not those of others: report it"
            )
        if each.waits:
            places = ", ".join(dict.fromkeys(each.waits))
            text = f"makes the host wait for the device {len(each.waits)} times a call ({places})"
            yield Finding(
                SECTION, name, "note", text, "it works, and slows small networks; draw and compute on the device"
            )
    yield _summary(kind, comparisons)


def _summary(kind: str, comparisons: Sequence[Comparison]) -> Finding:
    tried = [each for each in comparisons if not each.skipped]
    well = [each for each in tried if each.failure is None]
    compared = {each.name: each.deviation for each in well if each.deviation is not None}
    parts = [f"{len(well)} of {len(tried)} work, with finite results"]
    figures = {"works": float(len(well)), "tried": float(len(tried))}
    if compared:
        worst = max(compared, key=lambda name: compared[name] if not math.isnan(compared[name]) else math.inf)
        figures["largest_deviation"] = compared[worst]
        parts.append(f"{len(compared)} compared with the CPU: at most {compared[worst]:.1e} off ({worst}; limit 1e-3)")
        if random := len(well) - len(compared):
            parts.append(f"{random} draw random numbers on the device")
    if skipped := [each.name for each in comparisons if each.skipped]:
        parts.append(f"not tried: {', '.join(skipped)}")
    return Finding(SECTION, kind, "ok" if len(well) == len(tried) else "problem", "; ".join(parts), figures=figures)
