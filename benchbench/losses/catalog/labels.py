"""Losses on the student's logits and the labels: no teacher."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from benchbench.components import Params
from benchbench.losses.catalog.entry import loss


class CEParams(Params):
    """Parameters of `ce`."""

    label_smoothing: FiniteFloat = Field(0.0, ge=0, lt=1, description="probability mass spread over all classes")


LABELS = (loss("ce", "CE", CEParams, "cross-entropy on the labels (Szegedy et al. 2016)"),)
