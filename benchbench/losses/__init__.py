"""The losses that come with BenchBench: names, parameters and where each one lives; never imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, FiniteFloat

from benchbench.components import Component, Params
from benchbench.hookspecs import hookimpl

ProjectorKind = Literal["linear", "mocov2", "simclr", "simclrv2"]


class CEParams(Params):
    """Parameters of `ce`."""

    label_smoothing: FiniteFloat = Field(0.0, ge=0, lt=1, description="probability mass spread over all classes")


class KDParams(Params):
    """Parameters of `kd`."""

    temperature: FiniteFloat = Field(4.0, gt=0, description="T, divides the logits of both sides")
    standardize: bool = Field(False, description="z-score of each sample's logits first (Sun et al. 2024)")


class DKDParams(KDParams):
    """Parameters of `dkd`."""

    alpha: FiniteFloat = Field(1.0, ge=0, description="weight of the target class against all others")
    beta: FiniteFloat = Field(8.0, ge=0, description="weight of the distribution over the other classes")


class DISTParams(Params):
    """Parameters of `dist`."""

    temperature: FiniteFloat = Field(1.0, gt=0, description="tau, divides the logits of both sides")
    beta: FiniteFloat = Field(1.0, ge=0, description="weight of the relations between the classes of a sample")
    gamma: FiniteFloat = Field(1.0, ge=0, description="weight of the relations between the samples of a class")
    standardize: bool = Field(False, description="z-score of each sample's logits first (Sun et al. 2024)")


class NKDParams(Params):
    """Parameters of `nkd`."""

    temperature: FiniteFloat = Field(1.0, gt=0, description="T, divides the non-target logits of both sides")
    gamma: FiniteFloat = Field(1.5, ge=0, description="weight of the non-target classes")


class WSLDParams(Params):
    """Parameters of `wsld`."""

    temperature: FiniteFloat = Field(2.0, gt=0, description="T, divides the logits of both sides")


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


@hookimpl
def benchbench_losses() -> Iterable[Component]:
    """Cross-entropy, every loss of the method's table, and others: on logits first, then on embeddings."""
    teacher, task_teacher = frozenset({"teacher"}), frozenset({"teacher", "teacher.logits"})
    return [
        Component("ce", "benchbench.losses.ce:CE", CEParams, "cross-entropy on the labels (Szegedy et al. 2016)"),
        Component(
            "kd",
            "benchbench.losses.kd:KD",
            KDParams,
            "KL divergence to the teacher's softened logits (Hinton et al. 2015)",
            task_teacher,
        ),
        Component(
            "align_uniform",
            "benchbench.losses.align_uniform:AlignUniform",
            AlignUniformParams,
            "alignment and uniformity of projected embeddings (Farhat and Chen 2024)",
            teacher,
        ),
        Component(
            "crd",
            "benchbench.losses.crd:CRD",
            CRDParams,
            "contrast with memory banks of negatives (Tian et al. 2020)",
            teacher,
        ),
        Component(
            "srrl",
            "benchbench.losses.srrl:SRRL",
            Params,
            "softmax regression through the teacher's classifier (Yang et al. 2021)",
            task_teacher,
        ),
        Component(
            "logit_mse",
            "benchbench.losses.logit_mse:LogitMSE",
            Params,
            "mean squared error of the logits (Ba and Caruana 2014)",
            task_teacher,
        ),
        Component(
            "dkd",
            "benchbench.losses.dkd:DKD",
            DKDParams,
            "target and non-target classes apart (Zhao et al. 2022)",
            task_teacher,
        ),
        Component(
            "dist",
            "benchbench.losses.dist:DIST",
            DISTParams,
            "relations between and within classes (Huang et al. 2022)",
            task_teacher,
        ),
        Component(
            "nkd",
            "benchbench.losses.nkd:NKD",
            NKDParams,
            "normalised non-target classes (Yang et al. 2023)",
            task_teacher,
        ),
        Component(
            "wsld",
            "benchbench.losses.wsld:WSLD",
            WSLDParams,
            "soft labels weighted by sample (Zhou et al. 2021)",
            task_teacher,
        ),
        Component(
            "embedding_mse",
            "benchbench.losses.embedding_mse:EmbeddingMSE",
            Params,
            "regression onto the teacher's embedding (Romero et al. 2015)",
            teacher,
        ),
        Component(
            "embedding_cosine",
            "benchbench.losses.embedding_cosine:EmbeddingCosine",
            Params,
            "direction of the teacher's embedding (Sanh et al. 2019)",
            teacher,
        ),
        Component(
            "pkt",
            "benchbench.losses.pkt:PKT",
            Params,
            "neighbourhood probabilities (Passalis and Tefas 2018)",
            teacher,
        ),
        Component(
            "rkd",
            "benchbench.losses.rkd:RKD",
            RKDParams,
            "distances and angles between samples (Park et al. 2019)",
            teacher,
        ),
        Component(
            "cc",
            "benchbench.losses.cc:CC",
            CCParams,
            "correlation congruence of the batch (Peng et al. 2019)",
            teacher,
        ),
        Component(
            "sp",
            "benchbench.losses.sp:SP",
            Params,
            "row-normalised similarities of the batch (Tung and Mori 2019)",
            teacher,
        ),
        Component(
            "vid",
            "benchbench.losses.vid:VID",
            VIDParams,
            "Gaussian prediction of the teacher's embedding (Ahn et al. 2019)",
            teacher,
        ),
        Component(
            "info_nce",
            "benchbench.losses.info_nce:InfoNCE",
            InfoNCEParams,
            "contrast within the batch (van den Oord et al. 2018)",
            teacher,
        ),
    ]
