"""A frozen network's outputs on every view of the images, cached on disk: read instead of computed again.

A stage of its own makes them (`benchbench.stages.outputs`), and that stage's key is taken over the content of the data
set, the transform, the views' seed, and the network's weights: outputs of other images, views or weights have another
key. The files are checked against the hashes in that stage's record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchbench.augmenters.draws import to_device
from benchbench.data.batch import Batch
from benchbench.data.images import resident_bytes
from benchbench.data.order import balanced_order, steps_per_epoch, training_order
from benchbench.data.share import Share
from benchbench.models.outputs import Outputs
from benchbench.specs.records import DataRecord
from benchbench.store import StageFolder


class CachedOutputs:
    """The outputs of one frozen network.

    Attributes:
        views: augmented views of each training image.
        view_seed: draws the views.
        data: the data set, as in records.
    """

    def __init__(self, folder: StageFolder, device: torch.device):
        """Opens the files of a finished stage.

        Raises:
            StoreError: one is absent or damaged.
        """
        record, self._files = folder.verified_outputs()
        self.views, self.view_seed = record.outputs.views, record.outputs.view_seed
        self.data: DataRecord = record.data
        self.device = device

    def tensor(self, name: str) -> Tensor | None:
        """One of the tensors, "train.embedding" [views, N, D] or "test.labels" [N]; None where there is none.

        One that the device has room for is put there; a larger one stays on disk, and is read page by page.
        """
        if name not in self._files:
            return None
        array = np.load(self._files[name], mmap_mode="c", allow_pickle=False)
        tensor = torch.from_numpy(array)
        return tensor.to(self.device) if array.nbytes <= resident_bytes(self.device) else tensor

    def teacher(self) -> CachedTeacher:
        """The network's outputs for training batches."""
        embedding = self.tensor("train.embedding")
        assert embedding is not None
        return CachedTeacher(self.tensor("train.logits"), embedding)

    def loader(self, split: str) -> EmbeddingLoader | None:
        """Batches of embeddings in the place of images; None where the split has no images."""
        embedding, labels = self.tensor(f"{split}.embedding"), self.tensor(f"{split}.labels")
        if embedding is None or labels is None:
            return None
        return EmbeddingLoader(embedding, labels.to(self.device))


class CachedTeacher:
    """A teacher's cached outputs, called like a network on a training batch."""

    def __init__(self, logits: Tensor | None, embedding: Tensor):
        """`embedding` [views, N, D]; `logits` [views, N, C], None where the teacher has no task head."""
        self.logits, self.embedding = logits, embedding

    def __call__(self, batch: Batch, maps: bool) -> Outputs:
        assert not maps, "maps between stages are not cached"
        view = math.floor(batch.epoch) % len(self.embedding)
        logits = None if self.logits is None else _rows(self.logits[view], batch.index, batch.host_index)
        return Outputs(logits, _rows(self.embedding[view], batch.index, batch.host_index))


class EmbeddingLoader:
    """A frozen trunk's embeddings [views, N, D] as a loader: the head is all that is left to train.

    Its batches have embeddings [B, D] for images. One process trains a head: there is no share of it to be had.
    """

    share: Share | None = None
    balanced = False
    second_view = False

    def __init__(self, embedding: Tensor, labels: Tensor):
        self.embedding, self.labels = embedding if embedding.dim() == 3 else embedding[None], labels

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        view = self.embedding[epoch % len(self.embedding)]
        if self.balanced:
            host_order = balanced_order(self.labels.cpu(), seed, epoch, batch_size)
        else:
            host_order = training_order(len(self.labels), seed, epoch, batch_size)
        order = to_device(host_order, self.labels.device)
        for step in range(start, steps_per_epoch(len(self.labels), batch_size)):
            index, host_index = order[step], host_order[step]
            embeddings, labels = _rows(view, index, host_index), self.labels.index_select(0, index)
            yield Batch(embeddings, labels, index, host_index=host_index)

    def steps(self, batch_size: int) -> int:
        return steps_per_epoch(len(self.labels), batch_size)

    def images_a_step(self, batch_size: int) -> int:
        return min(batch_size, len(self.labels))

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        for index in torch.arange(len(self.labels), device=self.labels.device).split(batch_size):
            yield Batch(_rows(self.embedding[0], index), self.labels[index], index)

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        raise NotImplementedError("embeddings have no views to be drawn")


def _rows(values: Tensor, index: Tensor, host_index: Tensor | None = None) -> Tensor:
    """Rows of a tensor that may lie elsewhere than the index, in float32 on the index's device.

    Args:
        values: [N, D], on the index's device or on the CPU.
        index: [B].
        host_index: the same on the CPU, where it is known; then nothing waits for a GPU.
    """
    if values.device == index.device:
        return values.index_select(0, index).float()
    rows = values.index_select(0, index.cpu() if host_index is None else host_index)
    return to_device(rows, index.device).float()
