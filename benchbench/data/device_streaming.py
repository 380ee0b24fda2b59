"""A streaming loader whose images are cropped, and where it can be decoded, on the device.

Loader processes send files, or the pixels of images that the device does not decode, with the numbers of each crop.
Crops and flips are those that the loader processes would draw themselves. Later augmenters draw for a whole batch at
once, as they do where a set lies in memory.

Images that the device does not decode are reduced to what the transform can use, rounded, and kept by
`benchbench.data.decoded` where there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchbench.data.batch import Batch
from benchbench.data.decoded import DecodedImages, pixels_of, reduced
from benchbench.data.images import ImageSubset
from benchbench.data.jpeg import decode, decoder_problem, encoded
from benchbench.data.streaming import Key, StreamingLoader
from benchbench.data.windows import Shape, Window, WindowDraws, grids, sample
from benchbench.errors import DataError, one_line
from benchbench.seeds import generator


class Source(NamedTuple):
    """An image on its way to the device.

    Attributes:
        data: its file, or its pixels [H, W, C], as uint8 [bytes].
        shape: height, width.
        is_file: which of the two.
        windows: its crop in each view; the whole image is brought to one shape for all of them.
        image: its index in the subset.
    """

    data: np.ndarray
    shape: Shape
    is_file: bool
    windows: tuple[Window, ...]
    image: int


class Sources(NamedTuple):
    """A batch of `Source`s in few tensors; files come first, and images of one size follow one another.

    Attributes:
        files, pixels: all bytes, uint8.
        layout: of each image its number of bytes, its height and width, and those of the window's image [B, 5].
        num_files: how many of them are files.
        grid: of the windows of each view [V, B, 2, S].
        places: where each image of the batch stands among them [B].
        indices: of the images of the batch in the subset [B].
    """

    files: Tensor
    pixels: Tensor
    layout: Tensor
    num_files: Tensor
    grid: Tensor
    places: Tensor
    indices: Tensor


class DeviceStreamingLoader(StreamingLoader):
    """Images of many sizes, decoded where the device can, and cropped there."""

    def _reading(self) -> tuple[Dataset[Any], Callable[[Sequence[Any]], Any]]:
        draws = WindowDraws.of(self.transform)
        assert draws is not None, "these augmenters cannot be parted"
        self._draws, self._told = draws, False
        decodes = decoder_problem(self.device) is None
        return _Undecoded(self.subset, draws, decodes), partial(_join, size=draws.size)

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        raise NotImplementedError("kept views are drawn by the loader processes")

    def _finish(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        if self._draws.later:
            later = replace(self.transform, augmenters=self._draws.later)
            batch = replace(batch, images=later.train(batch.images, generator(seed, "augment", epoch, step)))
            if batch.second_view is not None:
                batch.second_view = later.train(batch.second_view, generator(seed, "second view", epoch, step))
        return super()._finish(batch, seed, epoch, step)

    def _batch(self, loaded: Sources) -> Batch:
        grid, places, index = (self._sent(each) for each in (loaded.grid, loaded.places, loaded.indices))
        pictures = iter([*self._decoded(loaded), *self._pixels(loaded)])
        parts: list[list[Tensor]] = [[] for _ in grid]
        start = 0
        for (*_, height, width), rows in groupby(loaded.layout.tolist(), key=lambda row: row[1:]):
            alike = torch.stack([next(pictures) for _ in rows])
            end = start + len(alike)
            for views, windows in zip(parts, grid, strict=True):
                views.append(sample(alike, (height, width), windows[start:end], self._draws.zeros))
            start = end
        images = torch.cat([torch.cat(views).index_select(0, places) for views in parts])
        return Batch(images, self.labels.index_select(0, index), index, host_index=loaded.indices)

    def _pixels(self, loaded: Sources) -> list[Tensor]:
        """Images that the CPU has decoded: uint8 [C, H, W] each."""
        rows = loaded.layout[int(loaded.num_files) :].tolist()
        parts = self._sent(loaded.pixels).split([row[0] for row in rows])
        return [part.view(row[1], row[2], -1).permute(2, 0, 1) for part, row in zip(parts, rows, strict=True)]

    def _decoded(self, loaded: Sources) -> list[Tensor]:
        """Images that the device decodes: uint8 [3, H, W] each; the CPU does where that fails."""
        num_files = int(loaded.num_files)
        if not num_files:
            return []
        files = list(loaded.files.split(loaded.layout[:num_files, 0].tolist()))
        try:
            return decode(files, self.device)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "jpeg" not in str(error).lower():  # of the device itself
                raise
            if not self._told:
                print(f"the device could not decode some images, and the CPU does: {one_line(error)[:200]}")
            self._told = True
        subset, order = self.subset, loaded.places.argsort()[:num_files]
        indices = [int(subset.indices[index]) for index in loaded.indices[order].tolist()]
        return [self._sent(torch.from_numpy(pixels_of(subset.images, each)).permute(2, 0, 1)) for each in indices]


@dataclass(frozen=True)
class _Undecoded(Dataset[Any]):
    """Images with their crops.

    Attributes:
        subset: the images.
        draws: of their crops.
        decodes: whether the device decodes files.
    """

    subset: ImageSubset
    draws: WindowDraws
    decodes: bool

    def __getitem__(self, key: Key) -> Source | str:
        try:
            data, shape, is_file = self._read(int(self.subset.indices[key.image]))
        except DataError as error:  # as a value: an exception from a loader process arrives wrapped in its traceback
            return str(error)
        if key.seeds is None:
            windows = [self.draws.test(shape)]
        else:
            windows = [self.draws.train(shape, torch.Generator().manual_seed(seed)) for seed in key.seeds]
        return Source(data, shape, is_file, tuple(windows), key.image)

    def _read(self, index: int) -> tuple[np.ndarray, Shape, bool]:
        images, side = self.subset.images, self.draws.largest_side
        if self.decodes:
            image = images.image.image if isinstance(images.image, DecodedImages) else images.image
            if found := encoded(image, index, side):
                return np.frombuffer(found[0], dtype=np.uint8), found[1], True
        pixels = reduced(pixels_of(images, index), side)
        return pixels.reshape(-1), (pixels.shape[0], pixels.shape[1]), False


def _join(items: Sequence[Source | str], size: int) -> Sources | str:
    sources: list[Source] = []
    for item in items:
        if isinstance(item, str):
            return item
        sources.append(item)
    order = sorted(range(len(sources)), key=lambda place: _kind(sources[place]))
    alike = [sources[place] for place in order]
    files, pixels = ([each.data for each in alike if each.is_file is kind] for kind in (True, False))
    return Sources(
        files=_bytes(files),
        pixels=_bytes(pixels),
        layout=torch.tensor([[len(each.data), *each.shape, *each.windows[0].shape] for each in alike]),
        num_files=torch.tensor(len(files)),
        grid=torch.stack([grids(view, size) for view in zip(*(each.windows for each in alike), strict=True)]),
        places=torch.tensor(order).argsort(),
        indices=torch.tensor([each.image for each in sources]),
    )


def _kind(source: Source) -> tuple[bool, Shape, Shape]:
    return not source.is_file, source.shape, source.windows[0].shape


def _bytes(parts: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.empty(0, np.uint8), *parts]))
