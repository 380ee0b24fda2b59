"""Small files in the layouts of the real data sets."""

import io
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
    # urllib asks for proxies once a process: neither may those of before stay, nor these.
    monkeypatch.setattr("urllib.request._opener", None)
