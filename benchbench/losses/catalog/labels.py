"""Losses on the student's logits and the labels: no teacher."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from benchbench.components import Params
from benchbench.losses.catalog.entry import loss


class CEParams(Params):
    """Parameters of `ce`."""

    label_smoothing: FiniteFloat = Field(0.0, ge=0, lt=1, description="probability mass spread over all classes")


class TfKDParams(Params):
    """Parameters of `tf_kd`."""

    correct: FiniteFloat = Field(0.99, ge=0.9, lt=1, description="a, the virtual teacher's probability of the label")
    temperature: FiniteFloat = Field(20.0, gt=0, description="T, softens the virtual teacher")


LABELS = (
    loss("ce", "CE", CEParams, "cross-entropy on the labels (Szegedy et al. 2016)"),
    loss("tf_kd", "TfKD", TfKDParams, "KL divergence to a virtual teacher (Yuan et al. 2020)", "hard_labels"),
)
