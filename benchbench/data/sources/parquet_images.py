"""Encoded images in parquet files: decoded at once where they are small, else one by one from a mapped copy."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchbench.data.sources.own_images import Reading, decode_own
from benchbench.errors import DataError, one_line

ARRAY_BYTES = 2**30
BATCH_ROWS = 256
BUFFER_BYTES = 2**20
SLICE_ROWS = 32
SCHEMA = pa.schema([("bytes", pa.large_binary())])


@dataclass(frozen=True)
class ParquetRows:
    """The rows of several files, one after the other.

    Attributes:
        files: F paths.
        starts: F + 1 numbers: the first row of each file, and the number of all rows.
    """

    files: tuple[str, ...]
    starts: tuple[int, ...]

    def location(self, row: int) -> str:
        """File and row in it, for errors."""
        index = bisect_right(self.starts, row) - 1
        return f"{self.files[index]}, row {row - self.starts[index]}"

    def batches(self, column: str, size: int = BATCH_ROWS) -> Iterator[pa.Array]:
        """The encoded images, `size` at a time.

        Raises:
            DataError: a file is damaged.
        """
        for file in self.files:
            try:
                # Buffered: whole row groups would lie in memory for the first image.
                parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
                struct = pa.types.is_struct(parquet.schema_arrow.field(column).type)
                leaf = f"{column}.bytes" if struct else column
                for batch in parquet.iter_batches(batch_size=size, columns=[leaf]):
                    yield batch.column(0).flatten()[0] if struct else batch.column(0)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"huggingface: cannot read the images of {file} ({one_line(error)})") from error


@dataclass(frozen=True)
class EncodedImages:
    """Image i of a mapped copy, decoded when asked for. Pickles as paths; each process maps the copy itself."""

    rows: ParquetRows
    copy: str
    reading: Reading

    def __call__(self, index: int) -> Image.Image:
        return _decode(_mapped(self.copy)[index].as_py(), self.rows.location(index), self.reading)


def first_images(rows: ParquetRows, column: str, count: int) -> list[bytes | None]:
    """The first encoded images, read without the rest of their row group.

    Raises:
        DataError: a file is damaged.
    """
    return next(rows.batches(column, count), pa.array([], pa.binary())).to_pylist()


def decode_all(rows: ParquetRows, column: str, reading: Reading) -> np.ndarray | None:
    """All images [N, H, W, 3], uint8; None where they differ in size or would take more than `ARRAY_BYTES`.

    Raises:
        DataError: an image is damaged.
    """
    batches = rows.batches(column)
    first = next(batches, None)
    array = _empty_array(rows, first, reading) if first is not None else None
    if first is None or array is None:
        return None
    decoder, start = _Decoder(rows, array, reading), 0
    # Pillow lets other threads run while it decodes.
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        for batch in chain([first], batches):
            offsets = range(0, len(batch), SLICE_ROWS)
            slices = [batch.slice(offset, SLICE_ROWS) for offset in offsets]
            if not all(pool.map(decoder.fill, [start + offset for offset in offsets], slices)):
                return None
            start += len(batch)
    return array


def _empty_array(rows: ParquetRows, batch: pa.Array, reading: Reading) -> np.ndarray | None:
    """Room for all images, of the first one's size; None where that would take more than `ARRAY_BYTES`."""
    count, image = rows.starts[-1], _decode(batch[0].as_py(), rows.location(0), reading)
    if count * image.height * image.width * 3 > ARRAY_BYTES:
        return None
    return np.empty((count, image.height, image.width, 3), dtype=np.uint8)


@dataclass(frozen=True)
class _Decoder:
    rows: ParquetRows
    array: np.ndarray
    reading: Reading

    def fill(self, start: int, encoded: pa.Array) -> bool:
        """Decodes a slice into the array from row `start` on; False at the first image of another size."""
        for row, value in enumerate(encoded.to_pylist(), start=start):
            image = _decode(value, self.rows.location(row), self.reading)
            if (image.height, image.width) != self.array.shape[1:3]:
                return False
            self.array[row] = np.asarray(image)
        return True


def mapped_copy(rows: ParquetRows, column: str, folder: Path) -> str:
    """A file in `folder` with the encoded images as they are, in a form that can be mapped; written once.

    Parquet can only be read by whole row groups, hundreds of images, which shuffled reading would do for every image;
    holding all of it would take the memory once per loader process. Mapped pages are shared by all processes.

    Raises:
        DataError: it cannot be written.
    """
    stats = [(os.path.realpath(file), os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in rows.files]
    key = hashlib.sha256(repr((column, stats)).encode()).hexdigest()[:16]
    copy = folder / f"images-{key}.arrow"
    if copy.exists():
        return str(copy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_copy(rows, column, copy)
    except OSError as error:
        raise DataError(f"huggingface: cannot write a copy of the images to {folder} ({one_line(error)})") from error
    return str(copy)


def _write_copy(rows: ParquetRows, column: str, copy: Path) -> None:
    """Written aside and moved, so that a worker at the same time, or after an interruption, sees all or nothing."""
    partial = copy.with_name(f"{copy.stem}-{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
            for batch in rows.batches(column):
                writer.write_batch(pa.record_batch([batch.cast(pa.large_binary())], schema=SCHEMA))
        os.replace(partial, copy)
    finally:
        partial.unlink(missing_ok=True)


@lru_cache(maxsize=8)
def _mapped(copy: str) -> pa.ChunkedArray:
    return pa.ipc.open_file(pa.memory_map(copy)).read_all().column(0)


def _decode(value: bytes | None, location: str, reading: Reading) -> Image.Image:
    if value is None:
        raise DataError(f"cannot read the image {location} (the column holds no bytes there)")
    return decode_own(io.BytesIO(value), location, reading)
