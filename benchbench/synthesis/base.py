"""The contract of a generator: a component of kind `augmenter` that needs `synthesis`, with a stage of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import Field

from benchbench.components import Params
from benchbench.specs.parts import Json

if TYPE_CHECKING:
    import numpy as np
    import torch

    from benchbench.data.images import ImageDataset
    from benchbench.store import StageFolder


class GeneratorParams(Params):
    """Base of a generator's parameters.

    Attributes:
        training: names of those that a network is trained by, in a stage before; with none, nothing is trained.
    """

    training: ClassVar[frozenset[str]] = frozenset()

    batch_size: int = Field(16, ge=1, le=4096, description="images at once; halved where memory runs out")


@dataclass(frozen=True)
class GenerationRequest:
    """A request for one image.

    Attributes:
        label: class number.
        index: within the class, from 0.
        seed: draws the image: it depends on the set's seed, label, index and attempt alone.
    """

    label: int
    index: int
    seed: int


@dataclass(frozen=True)
class Setting:
    """The part of a stage that a generator may use.

    Attributes:
        classes: class names, by number.
        real: the training split.
        indices: of it, the images that a suite trains on; no other may be looked at.
        device: torch device.
        trained: the stage that trained the generator's network, if it has one.
    """

    classes: tuple[str, ...]
    real: ImageDataset
    indices: np.ndarray
    device: torch.device
    trained: StageFolder | None = None

    def of_class(self, label: int) -> np.ndarray:
        """Indices of the images of one class that may be looked at."""
        return self.indices[self.real.labels[self.indices] == label]


class ImageGenerator(Protocol):
    """A generator, made once per stage: `target(params, setting)`.

    Attributes:
        card: for the record: model, revision, licence, safety checker, as far as they are known; `conditional: False`
            where it does not know classes, so that labels must come from elsewhere.
    """

    card: Json

    def prompt(self, request: GenerationRequest) -> str | None:
        """The request in words, for the manifest; None where it takes none."""
        ...

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        """One image [H, W, 3] per request, uint8 or float in 0..1, in their order.

        Each is drawn by its own seed, so that a set is the same however it is cut into batches (up to rounding).
        """
        ...
