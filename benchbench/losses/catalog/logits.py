"""Losses on the logits of both sides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from benchbench.components import Params
from benchbench.losses.catalog.entry import loss

Temperature = Annotated[FiniteFloat, Field(gt=0)]


class LogitParams(Params):
    """Parameters of `logit_mse`, and what most losses on logits share."""

    standardize: bool = Field(False, description="z-score of each sample's logits first (Sun et al. 2024)")


class KDParams(LogitParams):
    """Parameters of `kd`."""

    temperature: FiniteFloat = Field(4.0, gt=0, description="T, divides the logits of both sides")


class TfKDSelfParams(LogitParams):
    """Parameters of `tf_kd_self`."""

    temperature: FiniteFloat = Field(20.0, gt=0, description="T, divides the logits of both sides")


class WarmedKDParams(KDParams):
    """Parameters of the losses on logits that may rise from 0."""

    warmup_epochs: FiniteFloat = Field(0.0, ge=0, description="epochs over which the loss rises from 0 to its value")


class DKDParams(WarmedKDParams):
    """Parameters of `dkd`."""

    alpha: FiniteFloat = Field(1.0, ge=0, description="weight of the target class against all others")
    beta: FiniteFloat = Field(8.0, ge=0, description="weight of the distribution over the other classes")


class RLDParams(WarmedKDParams):
    """Parameters of `rld`."""

    alpha: FiniteFloat = Field(1.0, ge=0, description="weight of the confidence in the sample's class")
    beta: FiniteFloat = Field(8.0, ge=0, description="weight of the classes that the teacher puts below it")


class TTMParams(Params):
    """Parameters of `ttm`."""

    gamma: FiniteFloat = Field(0.1, gt=0, description="power of the teacher's probabilities: 1 / T")
    weighted: bool = Field(False, description="WTTM: each sample by the power sum of the teacher's probabilities")


class DISTParams(LogitParams):
    """Parameters of `dist`."""

    temperature: FiniteFloat = Field(1.0, gt=0, description="tau, divides the logits of both sides")
    beta: FiniteFloat = Field(1.0, ge=0, description="weight of the relations between the classes of a sample")
    gamma: FiniteFloat = Field(1.0, ge=0, description="weight of the relations between the samples of a class")


class NKDParams(LogitParams):
    """Parameters of `nkd`."""

    temperature: FiniteFloat = Field(1.0, gt=0, description="T, divides the non-target logits of both sides")
    gamma: FiniteFloat = Field(1.5, ge=0, description="weight of the non-target classes")


class WSLDParams(LogitParams):
    """Parameters of `wsld`."""

    temperature: FiniteFloat = Field(2.0, gt=0, description="T, divides the logits of both sides")


class MLKDParams(Params):
    """Parameters of `mlkd`."""

    temperatures: list[Temperature] = Field(
        [2.0, 3.0, 4.0, 5.0, 6.0], min_length=1, description="every T whose softened predictions are aligned"
    )
    standardize: bool = Field(
        False, description="z-score of each sample's logits first, in the term of the instances (Sun et al. 2024)"
    )


class CTKDParams(LogitParams):
    """Parameters of `ctkd`."""

    t_min: FiniteFloat = Field(1.0, gt=0, description="lower end of the temperature's range")
    t_range: FiniteFloat = Field(20.0, gt=0, description="width of the temperature's range")
    start: FiniteFloat = Field(0.0, ge=0, description="lambda at the start: how hard the temperature plays against")
    end: FiniteFloat = Field(1.0, ge=0, description="lambda after the curriculum")
    loops: FiniteFloat = Field(10.0, gt=0, description="length of the curriculum in epochs")


class DeiTParams(Params):
    """Parameters of `deit`."""

    kind: Literal["hard", "soft"] = Field("hard", description="the teacher's choice of class, or its softened logits")
    temperature: FiniteFloat = Field(3.0, gt=0, description="tau, divides the logits of both sides where kind is soft")


class VRMParams(LogitParams):
    """Parameters of `vrm`."""

    alpha: FiniteFloat = Field(128.0, ge=0, description="weight of the relations between samples")
    beta: FiniteFloat = Field(32.0, ge=0, description="weight of the relations between classes")
    pruned: FiniteFloat = Field(0.1, ge=0, lt=1, description="share of the samples' relations that do not count")


class WKDLogitsParams(Params):
    """Parameters of `wkd_logits`."""

    temperature: FiniteFloat = Field(2.0, gt=0, description="T, divides the non-target logits of both sides")
    gamma: FiniteFloat = Field(30.0, ge=0, description="weight of the transport beside the target's term")
    sharpen: FiniteFloat = Field(1.0, gt=0, description="kappa, how fast costs rise as classes differ")
    # Costs are under 1: exp(-1 / epsilon) must not vanish beside the eps of the denominators.
    epsilon: FiniteFloat = Field(0.05, ge=0.05, description="weight of the entropy of the transport plan")
    iterations: int = Field(10, gt=0, description="Sinkhorn iterations")
    decay_epoch: FiniteFloat | None = Field(
        None, ge=0, description="epoch from which the transport's weight falls to 0; none: it is constant"
    )


LOGITS = (
    loss("kd", "KD", KDParams, "KL divergence to the teacher's softened logits (Hinton et al. 2015)", "teacher.logits"),
    loss(
        "logit_mse",
        "LogitMSE",
        LogitParams,
        "mean squared error of the logits (Ba and Caruana 2014)",
        "teacher.logits",
    ),
    loss(
        "dkd",
        "DKD",
        DKDParams,
        "target and non-target classes apart (Zhao et al. 2022)",
        "teacher.logits",
        "hard_labels",
    ),
    loss(
        "rld",
        "RLD",
        RLDParams,
        "the teacher's logits without what contradicts the label (Sun et al. 2024)",
        "teacher.logits",
        "hard_labels",
    ),
    loss("ttm", "TTM", TTMParams, "softened teacher, plain student (Zheng and Yang 2024)", "teacher.logits"),
    loss("dist", "DIST", DISTParams, "relations between and within classes (Huang et al. 2022)", "teacher.logits"),
    loss("nkd", "NKD", NKDParams, "normalised non-target classes (Yang et al. 2023)", "teacher.logits", "hard_labels"),
    loss(
        "wsld", "WSLD", WSLDParams, "soft labels weighted by sample (Zhou et al. 2021)", "teacher.logits", "hard_labels"
    ),
    loss(
        "mlkd",
        "MLKD",
        MLKDParams,
        "predictions by instance, batch and class at several temperatures (Jin et al. 2023)",
        "teacher.logits",
    ),
    loss("ctkd", "CTKD", CTKDParams, "KL divergence at an adversarial temperature (Li et al. 2023)", "teacher.logits"),
    loss(
        "wkd_logits",
        "WKDLogits",
        WKDLogitsParams,
        "Wasserstein distance of the non-target classes (Lv et al. 2024)",
        "teacher",
        "teacher.logits",
        "hard_labels",
    ),
    loss(
        "vrm",
        "VRM",
        VRMParams,
        "relations of predictions between two views (Zhang et al. 2025)",
        "teacher.logits",
        "second_view",
    ),
    loss(
        "tf_kd_self",
        "TfKDSelf",
        TfKDSelfParams,
        "KL divergence to an earlier self of the student (Yuan et al. 2020)",
        "teacher.logits",
    ),
    loss(
        "deit",
        "DeiT",
        DeiTParams,
        "the teacher's labels on the distillation token (Touvron et al. 2021)",
        "token",
        "teacher.logits",
    ),
)
