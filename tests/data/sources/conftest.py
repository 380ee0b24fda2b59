"""Small files in the layouts of the real data sets."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _pixels(seed: int, size: tuple[int, int] = (8, 6)) -> np.ndarray:
    width, height = size
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def pixels():
    """(seed, size) -> pixels [H, W, 3], uint8."""
    return _pixels


@pytest.fixture
def save_image():
    """(file, seed, size, mode) -> writes a noise image in the format of the file's extension."""

    def save(file: Path, seed: int = 0, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_pixels(seed, size)).convert(mode).save(file)

    return save


@pytest.fixture
def png():
    """(seed, size) -> the bytes of a noise image as PNG."""

    def encode(seed: int, size: tuple[int, int] = (8, 6)) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(_pixels(seed, size)).save(buffer, "PNG")
        return buffer.getvalue()

    return encode


@pytest.fixture
def no_network(monkeypatch):
    """Connections fail at once on any machine: they go to a proxy at a port where nothing listens."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write_mat():
    """(file, arrays, compressed, order) -> a MATLAB level-5 file of row vectors of uint8, uint16 or float64."""

    def element(order: str, kind: int, content: bytes) -> bytes:
        if len(content) <= 4:  # the short form, which MATLAB uses wherever it can
            return struct.pack(order + "I", len(content) << 16 | kind) + content.ljust(4, b"\0")
        return struct.pack(order + "II", kind, len(content)) + content + b"\0" * (-len(content) % 8)

    def write(file: Path, arrays: dict[str, np.ndarray], compressed: bool = True, order: str = "<") -> None:
        data = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "HH", 0x0100, 0x4D49)
        for name, array in arrays.items():
            stored_as = {"uint8": 2, "uint16": 4, "float64": 9}[array.dtype.name]
            content = element(order, 6, struct.pack(order + "II", 6, 0))
            content += element(order, 5, struct.pack(order + "ii", 1, len(array)))
            content += element(order, 1, name.encode())
            content += element(order, stored_as, array.astype(array.dtype.newbyteorder(order)).tobytes())
            whole = struct.pack(order + "II", 14, len(content)) + content
            if compressed:
                packed = zlib.compress(whole)
                whole = struct.pack(order + "II", 15, len(packed)) + packed
            data += whole
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    return write
