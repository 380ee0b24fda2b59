"""JPEG files that a GPU decodes: torchvision's binding of nvJPEG.

Its pixels differ from Pillow's by a few of 255 levels, since both round on the way. It is used where a recipe asks for
it, and for files that both read in the same way.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchbench.data.sources.common import FileImages
from benchbench.data.sources.own_images import OwnFileImages, orientation_of
from benchbench.errors import one_line

# Mean difference from Pillow's pixels, of 255 levels, at which a decoder is refused.
MOST_DIFFERENCE = 4.0
# The place in torchvision's own source that its errors begin with.
PLACE = re.compile(r"^.*\.cpp:\d+, ")
END_OF_IMAGE = b"\xff\xd9"
RGB_COMPONENTS = {82, 71, 66}  # names of components ("R", "G", "B") by which decoders know colours that are not YCbCr


@functools.cache
def decoder_problem(device: torch.device) -> str | None:
    """A reason why JPEG files cannot be decoded on a device; None where they can. It is tried once."""
    expected = np.add.outer(np.arange(32) * 4, np.arange(48) * 2)[..., None] + np.array([0, 20, 30])
    with io.BytesIO() as stream:
        Image.fromarray(expected.astype(np.uint8)).save(stream, "JPEG", quality=95)
        file = torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)
        pillow = np.array(Image.open(stream).convert("RGB")).astype(np.float64)
    try:
        first, second = (each.permute(1, 2, 0).cpu().numpy() for each in decode([file, file], device))
    except Exception as error:  # of torchvision, nvJPEG and CUDA
        return PLACE.sub("", one_line(error))[:200]
    if first.shape != pillow.shape or not np.array_equal(first, second):
        return "it gives other pixels each time, or an image of another size"
    difference = float(np.abs(first - pillow).mean())
    return f"its pixels differ from Pillow's by {difference:.1f} of 255" if difference > MOST_DIFFERENCE else None


def decode(files: list[Tensor], device: torch.device) -> list[Tensor]:
    """RGB pixels of JPEG files on a device: uint8 [3, H, W] each.

    Args:
        files: their bytes, uint8 on the CPU.
        device: the host waits for it.

    Raises:
        RuntimeError: one cannot be decoded.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision 0.29 announces the end of this function
        decoded: list[Tensor] = decode_jpeg(files, mode=ImageReadMode.RGB, device=device)
    return decoded


def encoded(
    image: Callable[[int], Image.Image], index: int, largest_side: float
) -> tuple[bytes, tuple[int, int]] | None:
    """The bytes of image i with its height and width, where any decoder gives the same picture; else None.

    That is a whole JPEG file in YCbCr, not turned by its EXIF, whose shorter side is not above a limit.

    Args:
        image: of an `ImageDataset`; those of files are known.
        index: i.
        largest_side: pixels.
    """
    if type(image) not in (FileImages, OwnFileImages):
        return None
    try:
        data = Path(image.files[index]).read_bytes()  # type: ignore[attr-defined]
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as header:
            size = header.height, header.width
            usable = min(size) <= largest_side and _is_plain(header)
    except Exception:  # the decoder on the CPU says what is wrong
        return None
    return (data, size) if usable and data.endswith(END_OF_IMAGE) else None


def _is_plain(header: Image.Image) -> bool:
    if header.format != "JPEG" or header.mode != "RGB" or header.info.get("adobe_transform") == 0:
        return False
    components = {layer[0] for layer in getattr(header, "layer", ())}
    return components != RGB_COMPONENTS and orientation_of(header) == 1
