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


@hookimpl
def benchbench_losses() -> Iterable[Component]:
    """Every loss of the method's table, and cross-entropy."""
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
    ]
