"""Losses on the embeddings of both sides."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from benchbench.components import Params
from benchbench.losses.catalog.entry import loss

ProjectorKind = Literal["linear", "mocov2", "simclr", "simclrv2"]


class AlignUniformParams(Params):
    """Parameters of `align_uniform`."""

    projector: ProjectorKind = Field("mocov2", description="architecture of the projectors of both sides")
    dim: int = Field(128, gt=0, description="d, width of the shared space")
    # Under 1 the gradient of ||.||^alpha is unbounded where the two sides agree.
    alpha: FiniteFloat = Field(2.0, ge=1, description="power of the distance in the alignment term")
    t: FiniteFloat = Field(2.0, gt=0, description="sharpness of the Gaussian potential in the uniformity term")


class CRDParams(Params):
    """Parameters of `crd`."""

    negatives: int = Field(4096, gt=0, description="K, negatives per anchor, all of other classes")
    temperature: FiniteFloat = Field(0.07, gt=0, description="tau, divides the dot products")
    momentum: FiniteFloat = Field(0.5, ge=0, lt=1, description="weight of a memory bank's old row in its update")
    dim: int = Field(128, gt=0, description="d, width of the shared space")
    projector: ProjectorKind = Field("linear", description="architecture of the projectors of both sides")


class RKDParams(Params):
    """Parameters of `rkd`."""

    distance: FiniteFloat = Field(25.0, ge=0, description="weight of the distances of pairs")
    angle: FiniteFloat = Field(50.0, ge=0, description="weight of the angles of triplets")


class CCParams(Params):
    """Parameters of `cc`."""

    gamma: FiniteFloat = Field(0.4, gt=0, description="sharpness of the Gaussian kernel")
    order: int = Field(2, gt=0, description="P, order of the kernel's expansion")


class VIDParams(Params):
    """Parameters of `vid`."""

    variance: FiniteFloat = Field(5.0, ge=1e-3, description="initial variance of the prediction in every dimension")


class InfoNCEParams(Params):
    """Parameters of `info_nce`."""

    temperature: FiniteFloat = Field(0.07, gt=0, description="T, divides the cosines")
    dim: int = Field(128, gt=0, description="d, width of the shared space")
    projector: ProjectorKind = Field("linear", description="architecture of the projectors of both sides")


EMBEDDINGS = (
    loss(
        "align_uniform",
        "AlignUniform",
        AlignUniformParams,
        "alignment and uniformity of projected embeddings (Farhat and Chen 2024)",
        "teacher",
    ),
    loss("crd", "CRD", CRDParams, "contrast with memory banks of negatives (Tian et al. 2020)", "teacher"),
    loss(
        "srrl",
        "SRRL",
        Params,
        "softmax regression through the teacher's classifier (Yang et al. 2021)",
        "teacher",
        "teacher.logits",
    ),
    loss(
        "embedding_mse",
        "EmbeddingMSE",
        Params,
        "regression onto the teacher's embedding (Romero et al. 2015)",
        "teacher",
    ),
    loss(
        "embedding_cosine",
        "EmbeddingCosine",
        Params,
        "direction of the teacher's embedding (Sanh et al. 2019)",
        "teacher",
    ),
    loss("pkt", "PKT", Params, "neighbourhood probabilities (Passalis and Tefas 2018)", "teacher"),
    loss("rkd", "RKD", RKDParams, "distances and angles between samples (Park et al. 2019)", "teacher"),
    loss("cc", "CC", CCParams, "correlation congruence of the batch (Peng et al. 2019)", "teacher"),
    loss("sp", "SP", Params, "row-normalised similarities of the batch (Tung and Mori 2019)", "teacher"),
    loss("vid", "VID", VIDParams, "Gaussian prediction of the teacher's embedding (Ahn et al. 2019)", "teacher"),
    loss("info_nce", "InfoNCE", InfoNCEParams, "contrast within the batch (van den Oord et al. 2018)", "teacher"),
)
