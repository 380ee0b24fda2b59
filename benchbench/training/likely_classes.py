"""The classes that a network holds most likely for each image, collected over the batches of a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchbench.training.distributed import World

MOST = 5


class LikelyClasses:
    """The `MOST` likeliest classes of each image and their probabilities, in the order of the batches."""

    def __init__(self) -> None:
        self._classes: list[Tensor] = []
        self._probabilities: list[Tensor] = []

    def add(self, logits: Tensor) -> None:
        """Adds a batch [B, C]; the first class is that of `finite.top_classes`, also among equal logits."""
        values = logits.detach().float()
        first = values.max(1, keepdim=True).indices
        classes = values.topk(min(MOST, values.shape[1])).indices
        # Equal logits come in any order: the first one changes places with the one that is there.
        place = (classes == first).int().argmax(1, keepdim=True)
        classes = classes.scatter(1, place, classes[:, :1])
        classes[:, :1] = first
        self._classes.append(classes)
        self._probabilities.append(values.softmax(1).gather(1, classes))

    def gather(self, world: World, indices: Sequence[Tensor], count: int) -> None:
        """Puts together what several processes have, each of the images `indices` of `count`, by image."""
        # A process has no batch where there are fewer of them than processes.
        width = max(world.each(self._classes[0].shape[1] if self._classes else 0))
        for parts, dtype in ((self._classes, torch.int64), (self._probabilities, torch.float32)):
            whole = torch.zeros(count, width, dtype=dtype, device=world.device)
            for part, index in zip(parts, indices, strict=True):
                whole[index] = part
            parts[:] = [world.total(whole)]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Classes, int64, and probabilities, float16: [N, K] each."""
        return torch.cat(self._classes).cpu().numpy(), torch.cat(self._probabilities).half().cpu().numpy()
