"""Losses on the maps between stages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, field_validator

from benchbench.components import Component, Params
from benchbench.losses.catalog.entry import loss


class StudentFirstParams(Params):
    """Parameters of the methods that train the student alone first, `fsp` among them."""

    preparation: FiniteFloat = Field(
        0.125, ge=0, le=10, description="first stage as a share of the epochs; 0: none, joins the training instead"
    )


class FitNetsParams(StudentFirstParams):
    """Parameters of `fitnets`."""

    preparation: FiniteFloat = Field(
        0.0, ge=0, le=10, description="first stage as a share of the epochs; 0: none, joins the training instead"
    )
    relu: bool = Field(False, description="ReLU after the regressor, for teachers whose map is not negative either")


class ATParams(Params):
    """Parameters of `at`."""

    # Under 1 the gradient of |A|^p is unbounded where A is 0.
    p: FiniteFloat = Field(2.0, ge=1, description="power of the activations in the attention map")


class ABParams(StudentFirstParams):
    """Parameters of `ab`."""

    margin: FiniteFloat = Field(1.0, gt=0, description="how far from its boundary a neuron is to be")


class FTParams(Params):
    """Parameters of `ft`."""

    # Without its first stage the paraphraser would stay random.
    preparation: FiniteFloat = Field(
        0.125, gt=0, le=10, description="the paraphraser's training as a share of the epochs"
    )
    preparation_rate: FiniteFloat = Field(
        0.2, gt=0, le=10, description="the paraphraser's learning rate over the recipe's"
    )
    rate: FiniteFloat = Field(0.5, gt=0, le=16, description="k, the factor's channels over the teacher's")


Masked = Literal["channels", "pixels"]


class ReviewParams(Params):
    """Parameters of `review`."""

    warmup_epochs: FiniteFloat = Field(20.0, ge=0, description="epochs over which the loss rises from 0 to its value")


class SemCKDParams(Params):
    """Parameters of `semckd`."""

    anchors: int = Field(64, gt=0, description="samples of the batch that similarities are taken to")
    dim: int = Field(16, gt=0, description="width of queries and keys")


class CATKDParams(Params):
    """Parameters of `catkd`."""

    size: int = Field(2, gt=0, description="height and width that the class activation maps are pooled to")
    normalize: bool = Field(True, description="compare the maps of each class at unit norm")


class MGDParams(Params):
    """Parameters of `mgd`."""

    alpha: FiniteFloat = Field(7e-5, gt=0, description="factor of the summed squared error")
    ratio: FiniteFloat = Field(0.15, ge=0, lt=1, description="lambda, share of the student's map that is masked")
    masked: Masked = Field("channels", description="what is masked: whole channels, or pixels across channels")


class CWDParams(Params):
    """Parameters of `cwd`."""

    temperature: FiniteFloat = Field(4.0, gt=0, description="T, divides the activations of both sides")
    logits: bool = Field(False, description="compare the logits of a segmentation in place of the last maps")


class SKDPairwiseParams(Params):
    """Parameters of `skd_pairwise`."""

    patch: int = Field(1, gt=0, description="positions a side of the squares that are nodes; two nodes are left")


class CIRKDParams(Params):
    """Parameters of `cirkd`."""

    temperature: FiniteFloat = Field(0.1, gt=0, description="T, divides the cosines")
    positions: int = Field(64, gt=1, description="drawn from each image in each step; all, where there are no more")


class OFAParams(Params):
    """Parameters of `ofa`."""

    gamma: FiniteFloat = Field(1.5, ge=1, description="power that raises the target's share; 1: soft cross-entropy")
    temperature: FiniteFloat = Field(1.0, gt=0, description="T, divides the logits of both sides")


class SDDParams(Params):
    """Parameters of `sdd`."""

    base: Literal["kd", "dkd", "nkd"] = Field("dkd", description="loss of the logits of each cell")
    scales: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 2, 4], min_length=1, description="cells a side of each grid, all different; 1 is the image itself"
    )
    temperature: FiniteFloat = Field(4.0, gt=0, description="T, divides the logits of both sides")
    alpha: FiniteFloat = Field(1.0, ge=0, description="of dkd: weight of the target class against all others")
    beta: FiniteFloat = Field(8.0, ge=0, description="of dkd: weight of the distribution over the other classes")
    gamma: FiniteFloat = Field(1.5, ge=0, description="of nkd: weight of the other classes")
    warmup_epochs: FiniteFloat = Field(0.0, ge=0, description="epochs over which the loss rises from 0 to its value")

    @field_validator("scales")
    @classmethod
    def _grids(cls, scales: list[int]) -> list[int]:
        if len(set(scales)) < len(scales):
            raise ValueError("a scale is there twice; write each once")
        if max(scales) == 1:
            raise ValueError("1 is the image itself; write a scale over 1 too, or take kd")
        return scales


class WKDFeaturesParams(Params):
    """Parameters of `wkd_features`."""

    gamma: FiniteFloat = Field(2.0, ge=0, description="weight of the means beside the deviations")
    grid: int = Field(1, gt=0, le=16, description="cells a side in which means and deviations are taken")
    decay_epoch: FiniteFloat | None = Field(
        None, ge=0, description="epoch from which both terms fall to 0; none: they do not"
    )


class KDSVDParams(Params):
    """Parameters of `kdsvd`."""

    rank: int = Field(
        1,
        gt=0,
        description="k, singular vectors of each map of the teacher; at most as many as the smallest map has columns",
    )


class ViTKDParams(Params):
    """Parameters of `vitkd`."""

    alpha: FiniteFloat = Field(3e-5, ge=0, description="weight of the summed squared error of the first two maps")
    beta: FiniteFloat = Field(3e-6, ge=0, description="weight of that of the generated map")
    share: FiniteFloat = Field(0.5, gt=0, le=1, description="lambda, share of the tokens that are masked")


class NORMParams(Params):
    """Parameters of `norm`."""

    copies: int = Field(8, gt=0, description="N, copies of the teacher's map in the student's expanded one")


class DiffKDParams(Params):
    """Parameters of `diffkd`."""

    steps: int = Field(5, ge=1, le=10, description="denoising steps of the student's map")


class FCFDParams(Params):
    """Parameters of `fcfd`."""

    alpha: FiniteFloat = Field(5.0, ge=0, description="weight of the maps beside the logits of the paths")
    temperature: FiniteFloat = Field(4.0, gt=0, description="T, divides the logits of both sides")
    paths: int = Field(2, gt=0, description="paths through both networks in each step; all, where there are no more")
    relu: bool = Field(True, description="leaky ReLU behind bridges; false for maps before a ReLU, as of WRNs")
    warmup_epochs: FiniteFloat = Field(20.0, ge=0, description="epochs over which `features` rises from 0")


FEATURES: tuple[Component, ...] = (
    loss(
        "fitnets",
        "FitNets",
        FitNetsParams,
        "regression onto the teacher's middle map (Romero et al. 2015)",
        "teacher",
        "features",
    ),
    loss("at", "AT", ATParams, "attention maps (Zagoruyko and Komodakis 2017)", "teacher", "features"),
    loss("nst", "NST", Params, "distribution of the channels (Huang and Wang 2017)", "teacher", "features"),
    loss("fsp", "FSP", StudentFirstParams, "flow from map to map (Yim et al. 2017)", "teacher", "features"),
    loss("ab", "AB", ABParams, "activation boundaries (Heo et al. 2019)", "teacher", "features"),
    loss("ft", "FT", FTParams, "factors of a paraphraser (Kim et al. 2018)", "teacher", "features"),
    loss("ofd", "OFD", Params, "margin ReLU and partial distance of maps (Heo et al. 2019)", "teacher", "features"),
    loss("review", "Review", ReviewParams, "fused maps, deep to shallow (Chen et al. 2021)", "teacher", "features"),
    loss(
        "semckd",
        "SemCKD",
        SemCKDParams,
        "every pair of maps, weighted by attention (Chen et al. 2021)",
        "teacher",
        "features",
    ),
    loss(
        "catkd",
        "CATKD",
        CATKDParams,
        "class activation maps (Guo et al. 2023)",
        "teacher",
        "teacher.logits",
        "features",
    ),
    loss("mgd", "MGD", MGDParams, "generation from a masked map (Yang et al. 2022)", "teacher", "features"),
    loss("ickd", "ICKD", Params, "correlations between channels (Liu et al. 2021)", "teacher", "features"),
    loss(
        "ofa",
        "OFA",
        OFAParams,
        "predictions of every depth, for any architectures (Hao et al. 2023)",
        "teacher",
        "teacher.logits",
        "features",
        "hard_labels",
    ),
    loss(
        "sdd",
        "SDD",
        SDDParams,
        "logits of the parts of an image, at several scales (Wei et al. 2024)",
        "teacher",
        "teacher.logits",
        "features",
        "hard_labels",
    ),
    loss(
        "wkd_features",
        "WKDFeatures",
        WKDFeaturesParams,
        "Gaussians of the channels of the last map (Lv et al. 2024)",
        "teacher",
        "features",
    ),
    loss("norm", "NORM", NORMParams, "several copies of the teacher's map (Liu et al. 2023)", "teacher", "features"),
    loss("kdsvd", "KDSVD", KDSVDParams, "singular vectors from map to map (Lee et al. 2018)", "teacher", "features"),
    loss(
        "vitkd", "ViTKD", ViTKDParams, "first and last layers of transformers (Yang et al. 2024)", "teacher", "features"
    ),
    loss("diffkd", "DiffKD", DiffKDParams, "the student's map, denoised (Huang et al. 2023)", "teacher", "features"),
    loss(
        "fcfd",
        "FCFD",
        FCFDParams,
        "maps judged by the later layers of either network (Liu et al. 2023)",
        "teacher",
        "teacher.logits",
        "features",
    ),
    loss("cwd", "CWD", CWDParams, "where each channel is active (Shu et al. 2021)", "teacher", "features"),
    loss("pkd", "PKD", Params, "correlation of each channel (Cao et al. 2022)", "teacher", "features"),
    loss(
        "skd_pairwise",
        "SKDPairwise",
        SKDPairwiseParams,
        "likeness of the parts of an image (Liu et al. 2019)",
        "teacher",
        "features",
    ),
    loss(
        "ifvd",
        "IFVD",
        Params,
        "distance of each position to its class (Wang et al. 2020)",
        "teacher",
        "features",
        "pixels",
    ),
    loss(
        "cirkd",
        "CIRKD",
        CIRKDParams,
        "likeness of positions across images (Yang et al. 2022)",
        "teacher",
        "features",
    ),
)
