"""Any network becomes a `Backbone`: images in 0..1 go in, `Outputs(logits, embedding, features)` come out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from benchbench.models.copies import deep_copy
from benchbench.models.outputs import Outputs
from benchbench.models.pooling import is_mean_of


@dataclass
class Trunk:
    """A network without its classifier, as a model source builds it.

    Its functions are methods of the module, or of an object that holds it: a deep copy must run its own layers.

    Attributes:
        module: maps normalised images [B, C, H, W] to embeddings [B, dim].
        dim: width of the embedding.
        mean, std: of the images that the weights were trained on, per channel, in 0..1.
        input_size: the only image size that the network takes; None where it takes any.
        with_features: maps normalised images to (embedding, maps between stages); None where the network gives none.
        with_token: maps normalised images to (class token's embedding, distillation token's, maps between stages); None
            where the network has no distillation token. Without it the network's embedding is the mean of the two.
        rest: runs the network from a map on: the index of one of its maps, and such a map [B, C, h, w] -> (embedding,
            the maps after that one); None where its stages cannot be run apart.
        head: the classifier that the weights came with; None for random weights, or where it is not one linear layer.
        class_names: of that classifier, where the library knows them.
        licence: of the weights, where the library or the package states it.
    """

    module: nn.Module
    dim: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: int | None = None
    with_features: Callable[[Tensor], tuple[Tensor, list[Tensor]]] | None = None
    with_token: Callable[[Tensor], tuple[Tensor, Tensor, list[Tensor]]] | None = None
    rest: Callable[[int, Tensor], tuple[Tensor, list[Tensor]]] | None = None
    head: nn.Linear | None = None
    class_names: tuple[str, ...] | None = None
    licence: str | None = None


class MapHead(nn.Module):
    """A classifier that reads the last map [B, C, h, w], where any other reads the embedding [B, D]."""


class Backbone(nn.Module):
    """A trunk with its own normalisation, its own input size and a linear task head (none where `classes` is None)."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: Trunk, classes: int | None):
        super().__init__()
        self.trunk = trunk.module
        self.dim = trunk.dim
        self.input_size = trunk.input_size
        self.classes = classes
        self.head: nn.Module | None = nn.Linear(trunk.dim, classes) if classes is not None else None
        self.token_head: nn.Linear | None = None
        self.licence = trunk.licence
        self.frozen = self._head_trains = False
        self._with_features, self._with_token = trunk.with_features, trunk.with_token
        self._rest = trunk.rest
        self._map_shapes: dict[int, list[tuple[int, int, int]]] = {}
        self._pools_last_map = True
        # Saved with the weights: a network rebuilt without the pre-trained weights it came from has other defaults.
        self.register_buffer("mean", torch.tensor(trunk.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(trunk.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor, features: bool = False) -> Outputs:
        """One forward pass.

        Args:
            images: [B, C, H, W] in 0..1, of three channels mostly; resized here where the network takes another size.
            features: whether to return the maps between stages as well.
        """
        images = self.normalised(images)
        maps: list[Tensor] = []
        if self.token_head is not None and self.head is not None and self._with_token is not None:
            embedding, token, maps = self._with_token(images)
            logits, token_logits = self.head(embedding), self.token_head(token)
            if not self.training:
                logits = (logits + token_logits) / 2
            return Outputs(logits, (embedding + token) / 2, maps if features else [], token_logits)
        if (features or isinstance(self.head, MapHead)) and self._with_features is not None:
            embedding, maps = self._with_features(images)
        else:
            embedding = self.trunk(images)
        return Outputs(self._classified(embedding, maps), embedding, maps if features else [])

    def _classified(self, embedding: Tensor, maps: list[Tensor]) -> Tensor | None:
        if self.head is None:
            return None
        return self.head(maps[-1] if isinstance(self.head, MapHead) else embedding)

    @property
    def has_rest(self) -> bool:
        """True where the network can be run from each of its maps on."""
        return self._rest is not None

    def rest(self, index: int, value: Tensor) -> Outputs:
        """Runs the network from one of its maps on; the outputs have the maps after that one.

        In training, batch normalisation takes the statistics of this batch, and keeps none: those are of images.

        Args:
            index: of the map, as in `Outputs.features`; not of the last.
            value: [B, C, h, w] like that map.
        """
        assert self._rest is not None
        with _keeping_statistics(self.trunk):
            embedding, maps = self._rest(index, value)
        return Outputs(self._classified(embedding, maps), embedding, maps)

    def normalised(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in 0..1 as the trunk takes them: of its size, and normalised."""
        if self.input_size is not None and images.shape[-2:] != (self.input_size, self.input_size):
            images = F.interpolate(
                images, size=(self.input_size,) * 2, mode="bilinear", antialias=True, align_corners=False
            )
        return (images - self.mean) / self.std

    @property
    def has_token(self) -> bool:
        """True where the network has a distillation token."""
        return self._with_token is not None

    @property
    def classifiers(self) -> list[nn.Module]:
        """Its task head, and that of the distillation token; of a head on maps the layer that classifies."""
        return [part for part in (self.head, self.token_head) if part is not None]

    def add_token_head(self) -> None:
        """Gives the distillation token a classifier of its own; in eval mode the logits are the mean of both heads.

        Source: Touvron et al. 2021 (arXiv 2012.12877), section 4, where the two add their softmax outputs; the mean of
        the logits is their code's. A network without such a token stays as it is.
        """
        if self._with_token is not None and self.classes is not None:
            self.token_head = nn.Linear(self.dim, self.classes)

    def drop_trunk(self) -> None:
        """Drops all but the head and the sizes, of a network whose outputs are cached and that is never run again."""
        self.trunk = nn.Identity()
        self._with_features = self._with_token = self._rest = None
        self._map_shapes = {}

    def map_shapes(self, image_size: int) -> list[tuple[int, int, int]]:
        """Shapes (C, H, W) of the maps between stages, for images of so many pixels; one image tells, once."""
        if image_size not in self._map_shapes:
            training = self.training
            images = torch.zeros(1, self.mean.shape[1], image_size, image_size, device=self.mean.device)
            with torch.enable_grad():  # the graph says what the embedding is computed from
                outputs = self.eval()(images.requires_grad_(), features=True)
            self.train(training)
            maps = outputs.features
            self._map_shapes[image_size] = [(shape[1], shape[2], shape[3]) for shape in (each.shape for each in maps)]
            self._pools_last_map = not maps or is_mean_of(outputs.embedding, maps[-1])
        return self._map_shapes[image_size]

    def pools_last_map(self, image_size: int) -> bool:
        """True where the embedding is the mean of the last map, as for a class token it is not; see `is_mean_of`."""
        self.map_shapes(image_size)
        return self._pools_last_map

    def freeze(self, head: bool = True) -> Backbone:
        """Puts the network in eval mode for good, without gradients; `head=False` leaves its heads trainable."""
        self.frozen, self._head_trains = True, not head
        self.requires_grad_(False)
        for part in (self.head, self.token_head):
            if part is not None:
                part.requires_grad_(not head)
        return self.train(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy that runs its own layers, where the trunk's functions close over them too."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__({name: deep_copy(value, memo) for name, value in self.__dict__.items()})
        return copied

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode and not self.frozen)
        if self._head_trains and self.head is not None:  # it may have statistics of its own
            self.head.train(mode)
        return self


@contextlib.contextmanager
def _keeping_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisations in training mode neither read nor change their running statistics in here."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    before = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracks in zip(norms, before, strict=True):
            norm.track_running_stats = tracks
