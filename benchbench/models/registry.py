"""The built-in model sources, for teachers and for students, and heads on maps; imports no library."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from benchbench.components import Component, Params, hookimpl


class LibraryParams(Params):
    """Arguments that go to the library's own constructor; the library checks their names when the plan is made."""

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: dict[str, Any]


class TorchvisionParams(LibraryParams):
    """Arguments that go to the library's own constructor; the library checks their names when the plan is made."""

    of_weights: ClassVar = {
        "vit_b_16.imagenet1k_swag_e2e_v1": {"image_size": 384},
        "vit_l_16.imagenet1k_swag_e2e_v1": {"image_size": 512},
        "vit_h_14.imagenet1k_swag_e2e_v1": {"image_size": 518},
        "vit_h_14.default": {"image_size": 518},
    }


class TimmParams(LibraryParams):
    """Arguments that go to the library's own constructor; the library checks their names when the plan is made."""

    takes_channels = True


class CifarParams(Params):
    takes_channels = True

    shortcut: Literal["A", "B"] = Field(
        "B",
        description="of the ResNets of 6n + 2 layers: A has no parameters (He et al.'s), B is a 1x1 convolution "
        "(RepDistiller's)",
    )


class FPNParams(Params):
    """Parameters of `fpn`."""

    width: int = Field(64, ge=1, le=4096, description="channels of the merged maps")


class FCOSParams(Params):
    """Parameters of `fcos`."""

    width: int = Field(128, ge=32, le=1024, multiple_of=32, description="channels of the pyramid and of its branches")
    convolutions: int = Field(2, ge=0, le=8, description="of each branch, before its last one; 4 in the paper")
    finest: int = Field(8, ge=1, le=128, description="stride of the finest level in pixels")
    extra_levels: bool = Field(True, description="two levels coarser than the coarsest map, for large objects")


class SMPParams(Params):
    """Parameters of `smp`."""

    decoder: Literal["unet", "unetplusplus", "manet", "linknet", "fpn", "upernet", "segformer"] = Field(
        "unet",
        description="with the widths that the library's own networks have; for `unetplusplus`, `manet`, `linknet` and "
        "`fpn` the `image_size` must be one that 32 divides",
    )


def _sources() -> Iterable[Component]:
    # The library defines the network behind a name, so its version is part of every key that uses it.
    listings = {
        "timm": ("timm.list_models()", TimmParams),
        "torchvision": ("torchvision.models.list_models()", TorchvisionParams),
    }
    for name, (listing, params) in listings.items():
        yield Component(
            name,
            f"benchbench.models.{name}_source:build",
            params,
            f"any classification backbone of {listing}: {name}/NAME",
            version=importlib.metadata.version(name),
        )
    yield Component(
        "cifar",
        "benchbench.models.cifar_source:build",
        CifarParams,
        "the networks of the published CIFAR-100 distillation tables (resnet56, wrn_40_2, vgg8, ...): cifar/NAME",
    )


@hookimpl
def benchbench_teachers() -> Iterable[Component]:
    return _sources()


@hookimpl
def benchbench_students() -> Iterable[Component]:
    return _sources()


@hookimpl
def benchbench_heads() -> Iterable[Component]:
    """Each target is `(maps: list[MapShape], classes: int, **params) -> nn.Module`."""
    summary = "maps of all sizes, merged from coarse to fine (Lin et al. 2017)"
    yield Component("fpn", "benchbench.models.fpn:FPN", FPNParams, summary)
    summary = "detection: torchvision's FCOS on a pyramid of maps (Tian et al. 2019)"
    # The library defines the head, so its version is part of every key that uses it.
    version = importlib.metadata.version("torchvision")
    yield Component("fcos", "benchbench.models.fcos:FCOS", FCOSParams, summary, version=version, boxes=True)
    # The library defines the network, so its version is part of every key that uses it.
    version = _version("segmentation_models_pytorch")
    summary = "decoders of segmentation_models_pytorch (pip install 'benchbench[smp]')"
    yield Component("smp", "benchbench.models.smp_head:SMPHead", SMPParams, summary, version=version)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
