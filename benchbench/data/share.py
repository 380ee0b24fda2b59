"""The share of every batch that one of several processes has, which train one network together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from benchbench.data.batch import Batch


@dataclass(frozen=True)
class Share:
    """The part of one process.

    Attributes:
        rank: its number, from 0.
        size: number of processes.
        gather: (rows of this process, number of rows in all) -> the rows of all processes, in the order of the batch;
            every process calls it at the same time. No gradient passes.
    """

    rank: int
    size: int
    gather: Callable[[Tensor, int], Tensor]

    def rows(self, count: int, rank: int | None = None) -> slice:
        """Rows of a batch of `count` samples that this process has, or that of another number; none may be left."""
        rank = self.rank if rank is None else rank
        return slice(rank * count // self.size, (rank + 1) * count // self.size)

    def takes(self, batch: int) -> bool:
        """True where a whole test batch, by its number, is this process's: they take turns."""
        return batch % self.size == self.rank

    def __deepcopy__(self, memo: object) -> Share:
        return self


@dataclass
class SplitBatch(Batch):
    """A batch of which this process runs networks on its own share alone.

    All else is that of the whole batch, which losses see. Where the other images are not here, `images` is None until
    something reads it, and then gathers them: every process reads it at the same time, or none does.

    Attributes:
        own: images of the share [b, 3, H, W].
        share: the part of this process.
    """

    own: Tensor = field(kw_only=True)
    share: Share = field(kw_only=True)

    @classmethod
    def of(cls, batch: Batch, share: Share) -> SplitBatch:
        """A whole batch, split."""
        whole = {each.name: getattr(batch, each.name) for each in fields(Batch)}
        return cls(**whole, own=batch.images[share.rows(len(batch.labels))], share=share)

    @property
    def own_images(self) -> Tensor:
        return self.own

    def tensors(self) -> list[Tensor]:
        whole = vars(self)["images"]
        rest = [tensor for tensor in self._without_images() if tensor is not None]
        return [self.own, *([] if whole is None else [whole]), *rest]

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name == "images" and value is None:
            value = self.images = self.share.gather(self.own, len(self.labels))
        return value
