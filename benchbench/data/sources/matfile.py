"""Numeric arrays of a MATLAB level-5 file.

Flowers-102 keeps its labels and split in two such files of a few kilobytes. Reading them here spares every user scipy,
which nothing else in BenchBench needs. Source: "MAT-File Format", The MathWorks, chapter 1 (level 5).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchbench.errors import DataError, one_line

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


def read_mat(file: Path) -> dict[str, np.ndarray]:
    """Every numeric array of the file by name, flat [N], in MATLAB's column-major order.

    Raises:
        DataError: the file is absent, or is no level-5 file of numeric arrays.
    """
    try:
        data = file.read_bytes()
        # The writer stores the characters "MI" as one number, so their order shows the byte order.
        order = {b"IM": "<", b"MI": ">"}[data[HEADER_BYTES - 2 : HEADER_BYTES]]
        arrays = {}
        for kind, content in _elements(data[HEADER_BYTES:], order):
            if kind == COMPRESSED:
                kind, content = next(_elements(zlib.decompress(content), order))
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} where an array should be")
            # The parts of an array: flags, dimensions, name, numbers (and imaginary ones, which are not read).
            _, _, (_, name), (number, values) = list(_elements(content, order))[:4]
            arrays[name.decode("ascii")] = np.frombuffer(values, dtype=order + NUMBERS[number])
        return arrays
    except (OSError, ValueError, KeyError, StopIteration, struct.error, zlib.error) as error:
        raise DataError(f"cannot read {file} as a MATLAB file ({one_line(error)})") from error


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element: a tag of type and length, then the content, padded to 8 bytes."""
    start = 0
    while start + 8 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, start)
        if kind >> 16:  # a small element: length and type share the first four bytes, the content is in the next four
            yield kind & 0xFFFF, data[start + 4 : start + 4 + (kind >> 16)]
            start += 8
            continue
        content = data[start + 8 : start + 8 + length]
        if len(content) < length:
            raise ValueError("it ends too early")
        yield kind, content
        # Compressed elements are the one kind that is not padded.
        start += 8 + (length if kind == COMPRESSED else -(-length // 8) * 8)
