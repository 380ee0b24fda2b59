"""Losses on the logits of both sides."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from benchbench.components import Params
from benchbench.losses.catalog.entry import loss


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


LOGITS = (
    loss("kd", "KD", KDParams, "KL divergence to the teacher's softened logits (Hinton et al. 2015)", "teacher.logits"),
    loss("logit_mse", "LogitMSE", Params, "mean squared error of the logits (Ba and Caruana 2014)", "teacher.logits"),
    loss("dkd", "DKD", DKDParams, "target and non-target classes apart (Zhao et al. 2022)", "teacher.logits"),
    loss("dist", "DIST", DISTParams, "relations between and within classes (Huang et al. 2022)", "teacher.logits"),
    loss("nkd", "NKD", NKDParams, "normalised non-target classes (Yang et al. 2023)", "teacher.logits"),
    loss("wsld", "WSLD", WSLDParams, "soft labels weighted by sample (Zhou et al. 2021)", "teacher.logits"),
)
