"""Decoders of segmentation_models_pytorch as heads: on the maps of any backbone, whichever library it is from."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.errors import StageError, one_line
from benchbench.models.segmentation import PROBED, MapShape

# Module and class under `segmentation_models_pytorch.decoders`, and the arguments that the library's own networks have.
DECODERS: Mapping[str, tuple[str, str, Mapping[str, tuple[int, ...]]]] = {
    "unet": ("unet", "UnetDecoder", {"decoder_channels": (256, 128, 64, 32, 16)}),
    "unetplusplus": ("unetplusplus", "UnetPlusPlusDecoder", {"decoder_channels": (256, 128, 64, 32, 16)}),
    "manet": ("manet", "MAnetDecoder", {"decoder_channels": (256, 128, 64, 32, 16)}),
    "linknet": ("linknet", "LinknetDecoder", {}),
    "fpn": ("fpn", "FPNDecoder", {}),
    "upernet": ("upernet", "UPerNetDecoder", {}),
    "segformer": ("segformer", "SegformerDecoder", {}),
}
STRIDES = (2, 4, 8, 16, 32)
# Decoders that take each map to have half as many positions a side as the one before, by the stride of their finest.
HALVING: Mapping[str, int] = {"unetplusplus": 2, "manet": 2, "linknet": 2, "fpn": 4}


class SMPHead(nn.Module):
    """A decoder with a 1x1 convolution for the classes on top.

    Raises:
        StageError: the library is not installed, or the backbone has no maps of the strides that its decoders read.
    """

    def __init__(self, maps: Sequence[MapShape], classes: int, decoder: str):
        """
        Args:
            maps: shapes of the backbone's maps, shallow to deep.
            classes: of pixels.
            decoder: a name of `DECODERS`.
        """
        super().__init__()
        self.name = decoder
        last = {shape.stride: place for place, shape in enumerate(maps)}
        if missing := [stride for stride in STRIDES[1:] if stride not in last]:
            strides = ", ".join(map(str, STRIDES[1:]))
            problem = f"decoder '{decoder}' reads maps of strides {strides}, and the backbone has none of stride"
            raise StageError(f"{problem} {missing[0]}; take `head: fpn`")
        # A network that begins with patches of 4 pixels has no map of stride 2: as in the library, it is one without
        # channels.
        self.places = [last.get(stride) for stride in STRIDES]
        channels = [0 if place is None else maps[place].channels for place in self.places]
        module, name, arguments = DECODERS[decoder]
        target = getattr(_module(module), name)
        self.decoder: nn.Module = target(encoder_channels=[3, *channels], **arguments)
        self.classifier = nn.Conv2d(self._width(channels), classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C, h, w] of the backbone -> logits [B, classes, h, w].

        Raises:
            StageError: their sizes are none that the decoder takes.
        """
        maps = [_half(maps, self.places) if place is None else maps[place] for place in self.places]
        self._check(maps)
        logits: Tensor = self.classifier(self.decoder([_image_of(maps), *maps]))
        return logits

    @property
    def is_halving(self) -> bool:
        """True where the decoder takes images alone whose sides 32 divides."""
        return self.name in HALVING

    def _check(self, maps: Sequence[Tensor]) -> None:
        read = maps[STRIDES.index(HALVING[self.name]) :] if self.is_halving else []
        for fine, coarse in itertools.pairwise(read):
            if [*fine.shape[-2:]] != [2 * side for side in coarse.shape[-2:]]:
                raise StageError(f"decoder '{self.name}' needs an image_size that {STRIDES[-1]} divides")

    @torch.no_grad()
    def _width(self, channels: Sequence[int]) -> int:
        """Channels of the decoder's output; one image tells."""
        sizes = [PROBED // stride for stride in STRIDES]
        device = next(self.decoder.parameters()).device
        maps = [torch.zeros(1, width, size, size, device=device) for width, size in zip(channels, sizes, strict=True)]
        width: int = self.decoder.eval()([_image_of(maps), *maps]).shape[1]
        self.decoder.train()
        return width


def _half(maps: Sequence[Tensor], places: Sequence[int | None]) -> Tensor:
    """A map without channels of half the image's size, beside the finest one that there is: that of stride 4."""
    finest = maps[next(place for place in places if place is not None)]
    count, _, height, width = finest.shape
    return finest.new_zeros(count, 0, 2 * height, 2 * width)


def _image_of(maps: Sequence[Tensor]) -> Tensor:
    """In place of the image, of which decoders read the size alone."""
    count, _, height, width = maps[0].shape  # not `len`, which would fix the number of images in an exported graph
    return maps[0].new_zeros(()).expand(count, 3, 2 * height, 2 * width)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"segmentation_models_pytorch.decoders.{name}.decoder")
    except ImportError as error:
        raise StageError(
            f"head 'smp' needs segmentation_models_pytorch ({one_line(error)}); pip install 'benchbench[smp]'"
        ) from None
