"""Losses on the embeddings of both sides."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator
from pydantic_core import PydanticCustomError

from benchbench.components import Params
from benchbench.losses.catalog.entry import loss

ProjectorKind = Literal["linear", "mocov2", "simclr", "simclrv2"]


class DenseParams(Params):
    """Parameters of the losses on embeddings that take positions of the last maps as samples too.

    The weighted sum does that, for losses of plugins too whose parameters derive from these.
    """

    adds: ClassVar = {"dense": frozenset({"features"})}

    dense: bool = Field(False, description="compare positions of the last maps in place of the embeddings")
    positions: int = Field(16, gt=0, description="drawn from each image in each step where dense is true")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.dense and getattr(self, "maps", False):
            problem = "`maps` compares whole maps, and `dense` positions of the last ones: take one of them"
            raise PydanticCustomError("maps_or_dense", problem)
        return self


class AlignUniformParams(DenseParams):
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


class RKDParams(DenseParams):
    """Parameters of `rkd`."""

    distance: FiniteFloat = Field(25.0, ge=0, description="weight of the distances of pairs")
    angle: FiniteFloat = Field(50.0, ge=0, description="weight of the angles of triplets")


class CCParams(DenseParams):
    """Parameters of `cc`."""

    gamma: FiniteFloat = Field(0.4, gt=0, description="sharpness of the Gaussian kernel")
    order: int = Field(2, gt=0, description="P, order of the kernel's expansion")
    form: Literal["kernel", "neighbours"] = Field("kernel", description="the paper's formula, or RepDistiller's")
    dim: int = Field(128, gt=0, description="width of the projections where form is neighbours")


class SPParams(DenseParams):
    """Parameters of `sp`."""

    maps: bool = Field(False, description="compare the last maps in place of the embeddings")


class SRRLParams(Params):
    """Parameters of `srrl`."""

    maps: bool = Field(False, description="connect the student's last map in place of its embedding")


class VIDParams(DenseParams):
    """Parameters of `vid`."""

    variance: FiniteFloat = Field(5.0, ge=1e-3, description="initial variance of the prediction in every dimension")
    maps: bool = Field(False, description="compare the maps between stages in place of the embeddings")


class InfoNCEParams(DenseParams):
    """Parameters of `info_nce`."""

    temperature: FiniteFloat = Field(0.07, gt=0, description="T, divides the cosines")
    dim: int = Field(128, gt=0, description="d, width of the shared space")
    projector: ProjectorKind = Field("linear", description="architecture of the projectors of both sides")


class SimKDParams(Params):
    """Parameters of `simkd`."""

    factor: int = Field(2, gt=0, description="r, the projector's hidden layers are D_t / r wide")
    relu: bool = Field(True, description="ReLU behind the projector: for teachers that pool their embedding after one")
    maps: bool = Field(False, description="project the student's last map in place of its embedding")


class SEEDParams(DenseParams):
    """Parameters of `seed`."""

    queue: int = Field(65536, gt=0, description="K, teacher embeddings that are kept")
    # The cosines are divided by it; under this a single bit of their 24 is already worth 0.06 of a logit.
    teacher_temperature: FiniteFloat = Field(0.01, ge=1e-6, description="tau_t, divides the teacher's cosines")
    student_temperature: FiniteFloat = Field(0.2, ge=1e-6, description="tau_s, divides the student's cosines")
    projector: ProjectorKind = Field("mocov2", description="architecture of the student's projector")


class WCoRDParams(DenseParams):
    """Parameters of `wcord`."""

    local_weight: FiniteFloat = Field(1.0, ge=0, description="weight of the transport within the batch")
    global_weight: FiniteFloat = Field(1.0, ge=0, description="weight of the critic's contrast")
    # Costs reach 2: their quotient with it must not overflow.
    epsilon: FiniteFloat = Field(0.05, ge=1e-4, description="weight of the entropy of the transport plan")
    iterations: int = Field(20, gt=0, description="Sinkhorn iterations")
    dim: int = Field(128, gt=0, description="d, width of the critic")


class SRDParams(DenseParams):
    """Parameters of `srd`."""

    # Under 1 the gradient of |.|^alpha is unbounded where the two sides agree; far above, the power overflows.
    alpha: FiniteFloat = Field(4.0, ge=1, le=16, description="power of the differences")


EMBEDDINGS = (
    loss(
        "align_uniform",
        "AlignUniform",
        AlignUniformParams,
        "alignment and uniformity of projected embeddings (Farhat and Chen 2024)",
        "teacher",
    ),
    loss(
        "crd", "CRD", CRDParams, "contrast with memory banks of negatives (Tian et al. 2020)", "teacher", "hard_labels"
    ),
    loss(
        "srrl",
        "SRRL",
        SRRLParams,
        "softmax regression through the teacher's classifier (Yang et al. 2021)",
        "teacher",
        "teacher.logits",
    ),
    loss(
        "embedding_mse",
        "EmbeddingMSE",
        DenseParams,
        "regression onto the teacher's embedding (Romero et al. 2015)",
        "teacher",
    ),
    loss(
        "embedding_cosine",
        "EmbeddingCosine",
        DenseParams,
        "direction of the teacher's embedding (Sanh et al. 2019)",
        "teacher",
    ),
    loss("pkt", "PKT", DenseParams, "neighbourhood probabilities (Passalis and Tefas 2018)", "teacher"),
    loss("rkd", "RKD", RKDParams, "distances and angles between samples (Park et al. 2019)", "teacher"),
    loss("cc", "CC", CCParams, "correlation congruence of the batch (Peng et al. 2019)", "teacher"),
    loss("sp", "SP", SPParams, "row-normalised similarities of the batch (Tung and Mori 2019)", "teacher"),
    loss("vid", "VID", VIDParams, "Gaussian prediction of the teacher's embedding (Ahn et al. 2019)", "teacher"),
    loss("info_nce", "InfoNCE", InfoNCEParams, "contrast within the batch (van den Oord et al. 2018)", "teacher"),
    loss(
        "simkd",
        "SimKD",
        SimKDParams,
        "the teacher's classifier behind a projector (Chen et al. 2022)",
        "teacher",
        "teacher.logits",
    ),
    loss("seed", "SEED", SEEDParams, "similarities to a queue of teacher embeddings (Fang et al. 2021)", "teacher"),
    loss("wcord", "WCoRD", WCoRDParams, "optimal transport and a Lipschitz critic (Chen et al. 2021)", "teacher"),
    loss("srd", "SRD", SRDParams, "LogSum distance of normalised embeddings (Miles and Mikolajczyk 2024)", "teacher"),
    loss("vkd", "VkD", DenseParams, "orthogonal projection to the teacher's embedding (Miles et al. 2024)", "teacher"),
)
