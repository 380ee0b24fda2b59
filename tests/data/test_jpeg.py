"""JPEG files that a device decodes: which they are, and whether it can."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from benchbench.data import jpeg
from benchbench.data.jpeg import decoder_problem, encoded
from benchbench.data.sources.common import FileImages
from benchbench.data.sources.own_images import OwnFileImages, Reading

CPU = torch.device("cpu")
PIXELS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
TURNED = Image.Exif()
TURNED[0x0112] = 3


@pytest.mark.parametrize(
    ("mode", "options", "sent"),
    [
        ("RGB", {}, True),
        ("RGB", {"progressive": True, "subsampling": "4:4:4"}, True),
        ("RGB", {"keep_rgb": True}, False),
        ("RGB", {"exif": TURNED}, False),
        ("RGB", {"format": "PNG"}, False),
        ("RGB", {"format": "MPO", "save_all": True, "append_images": [PIXELS]}, False),
        ("L", {}, False),
        ("CMYK", {}, False),
    ],
)
def test_files_that_all_decoders_read_alike_are_sent(tmp_path, mode, options, sent):
    file = tmp_path / "image"
    PIXELS.convert(mode).save(file, **{"format": "JPEG", **options})
    for image in (FileImages((str(file),)), OwnFileImages((str(file),), Reading("ignore", None))):
        assert encoded(image, 0, 64) == ((file.read_bytes(), (20, 30)) if sent else None)
        assert encoded(image, 0, 19) is None  # larger than asked for


def test_files_that_are_cut_short_or_unknown_are_left_to_pillow(tmp_path):
    file = tmp_path / "image.jpg"
    PIXELS.save(file)
    assert encoded(lambda index: PIXELS, 0, 64) is None
    file.write_bytes(file.read_bytes()[:-50])
    assert encoded(FileImages((str(file),)), 0, 64) is None
    file.unlink()
    assert encoded(FileImages((str(file),)), 0, 64) is None


@pytest.mark.parametrize(
    ("decoder", "problem"),
    [
        (jpeg.decode, None),
        (Mock(side_effect=RuntimeError("no nvJPEG")), "RuntimeError: no nvJPEG"),
        (Mock(side_effect=RuntimeError("Decoder, /csrc/decode.cpp:167, Failed: 6")), "Failed: 6"),
        (Mock(return_value=[torch.zeros(3, 32, 48, dtype=torch.uint8)] * 2), "its pixels differ from Pillow's by "),
        (Mock(return_value=[torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2), "it gives other pixels each time"),
    ],
)
def test_a_decoder_is_tried(monkeypatch, decoder, problem):
    monkeypatch.setattr(jpeg, "decode", decoder)
    decoder_problem.cache_clear()
    found = decoder_problem(CPU)
    decoder_problem.cache_clear()
    assert found is None if problem is None else found.startswith(problem)
