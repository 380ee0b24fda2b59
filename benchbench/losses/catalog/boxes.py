"""Losses of detections: they read the boxes of objects, or outputs at every point of the image."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from benchbench.components import Component, Params
from benchbench.losses.catalog.entry import loss


class FGDParams(Params):
    """Parameters of `fgd`; defaults are those of the official configuration for RetinaNet."""

    temperature: FiniteFloat = Field(0.5, gt=0, description="T, divides the means of activations in both attentions")
    alpha: FiniteFloat = Field(1e-3, ge=0, description="weight of the summed squared error inside of boxes")
    beta: FiniteFloat = Field(5e-4, ge=0, description="weight of that of the background")
    gamma: FiniteFloat = Field(5e-4, ge=0, description="weight of the summed error of both attentions")
    relation: FiniteFloat = Field(5e-6, ge=0, description="lambda, weight of the summed squared error with contexts")


class HeadKDParams(Params):
    """Parameters of `head_kd`."""

    temperature: FiniteFloat = Field(1.0, gt=0, description="T, divides the logits of the classes of both sides")
    # Between 0 and 1 the gradient is unbounded where both sides agree.
    power: int = Field(1, ge=0, description="of the gap of both probabilities, which weights it; 0: all count the same")
    giou: FiniteFloat = Field(1.0, ge=0, description="weight of the boxes beside the classes")
    centerness: FiniteFloat = Field(1.0, ge=0, description="weight of the centreness beside the classes")


BOXES: tuple[Component, ...] = (
    loss("fgd", "FGD", FGDParams, "maps in boxes and around them (Yang et al. 2022)", "teacher", "features", "boxes"),
    loss(
        "head_kd",
        "HeadKD",
        HeadKDParams,
        "classes and boxes of the teacher at every point (Wang et al. 2024)",
        "teacher.logits",
        "boxes",
    ),
)
