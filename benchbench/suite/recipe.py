"""A training recipe, as a suite writes it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictInt, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from benchbench.errors import quoted
from benchbench.specs.parts import Json
from benchbench.suite.fields import OPTIMIZER, Auto, Ref, Strict
from benchbench.suite.forms import as_refs

FIELDS_OF_OPTIMIZERS = ("lr", "weight_decay", "momentum")
SET_HERE = ("params", "fused", "foreach", "capturable", "differentiable", "maximize")


class EarlyStop(Strict):
    """The end of a training before its last epoch."""

    patience: StrictInt = Field(ge=1, description="epochs in a row without a gain")
    min_delta: float = Field(0.0, ge=0, lt=1, description="least gain of the validation accuracy (0..1) that counts")


def _class_weights(value: Any) -> Any:
    """`balanced`, or a mapping of names to weights."""
    if value is None or value == "balanced":
        return value
    if not (isinstance(value, dict) and value):
        problem = "write `balanced`, or a mapping from names of classes to weights (given: {value})"
        raise PydanticCustomError("class_weights", problem, {"value": quoted(repr(value))})
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            problem = "the weight of class '{name}' is a number above 0 (given: {weight})"
            context = {"name": quoted(str(name)), "weight": quoted(repr(weight))}
            raise PydanticCustomError("class_weights", problem, context)
    return value


class Recipe(Strict):
    """A training run. In a suite every part may set a few fields; the nearest part that sets a field wins."""

    epochs: int = Field(10, ge=1, le=1_000_000, description="passes over the training set")
    batch_size: int = Field(64, ge=1, le=1_000_000, description="images a step; the last partial batch is dropped")
    optimizer: Annotated[str, StringConstraints(pattern=OPTIMIZER, max_length=40)] = Field(
        "adamw", description="adamw, sgd, or any of timm's (`lion`) or of torch.optim (`torch/rprop`)"
    )
    optimizer_params: Json = Field({}, description="further parameters of it, as in `{betas: [0.9, 0.95], eps: 1e-6}`")
    lr: float = Field(1e-3, gt=0, description="learning rate")
    head_lr: float | None = Field(None, gt=0, description="rate of the classifier; default: lr")
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor of the rate from a layer to the one below it, for fine-tuning; default: one rate for all",
    )
    weight_decay: float = Field(1e-2, ge=0, description="decoupled with adamw; added to the gradient with sgd")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd, and of others that have one")
    schedule: Literal["constant", "cosine", "step"] = Field(
        "constant", description="course of the learning rate over the epochs"
    )
    milestones: list[Annotated[StrictInt, Field(ge=1)]] = Field(
        [], description="epochs at which `step` multiplies the rate by gamma"
    )
    gamma: float = Field(0.1, gt=0, description="factor of the learning rate at each of the `milestones`")
    warmup_epochs: float = Field(0, ge=0, description="epochs over which the learning rate first rises from 0")
    class_weights: Annotated[Literal["balanced"] | dict[str, float] | None, BeforeValidator(_class_weights)] = Field(
        None,
        description="weights of classes in `ce`, by name, as in `{cat: 2}` (others have 1); balanced: images / "
        "(classes x images of the class)",
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        "shuffled", description="balanced: every epoch draws as many images, with replacement, each class as often"
    )
    early_stop: EarlyStop | None = Field(
        None, description="end where the validation accuracy rises no more, as in `{patience: 5}`; default: never"
    )
    clip_grad: float | None = Field(None, gt=0, description="limit of the gradient, by `clip_mode`; default: none")
    clip_mode: Literal["norm", "value", "agc"] = Field(
        "norm",
        description="norm: of all gradients together; value: of each number; agc: of each unit, as a share of the norm "
        "of its weights, without the classifier",
    )
    dot: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of distillation with sgd, DOT: momentum + dot for the gradient of the losses with a teacher, and "
        "momentum - dot for that of the others; default: one momentum for all",
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=1024,
        description="parts in which a step's batch is run, one after another, for less memory; `batch_size` is that of "
        "the whole batch",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of an exponential moving average of the weights, which is evaluated and kept instead of "
        "them; default: none",
    )
    ema_warmup: bool = Field(False, description="let the decay of `ema` rise over the first steps, as timm does")
    image_size: int = Field(224, ge=8, le=8192, description="pixels a side of the network's input")
    eval_resize: int | None = Field(None, ge=8, description="shorter side before the centre crop; default: image_size")
    augment: Annotated[list[Ref], BeforeValidator(as_refs)] = Field(
        [],
        description="augmenters in this order, as in `{flip: {}, random_crop: {padding: 4}}`; those that mix images "
        "come last, and of several each batch draws one",
    )
    decode: Literal["cpu", "gpu"] = Field(
        "cpu",
        description="where images that stream from disk are decoded and cropped; gpu: cropped on the GPU, and JPEG "
        "files decoded there, as far as it can, which the record tells; for trainings without `views`",
    )
    views: Annotated[int, Field(ge=1)] | Literal["all"] | None = Field(
        None,
        description="draw so many augmented views of each image and cache the outputs of frozen networks on them; "
        "`all`: a new view each epoch; default: augment every batch afresh (linear_probe: 4)",
    )
    precision: Literal["fp32", "auto", "bf16", "fp16", "exact"] = Field(
        "fp32",
        description="of the forward and backward pass (autocast); fp32: convolutions in TF32 on a GPU that has it, as "
        "PyTorch has it; auto: bf16 where it is not slower and changes little; exact: fp32 without TF32, as "
        "a plain PyTorch loop computes it, with every automatic choice off",
    )
    tolerance: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="largest share of real images whose class `auto` lets a lower precision change in a frozen network",
    )
    channels_last: Auto = Field("auto", description="memory layout NHWC; auto: where it is measured to be faster")
    fold_bn: Auto = Field("auto", description="fold a frozen network's batch normalisation into its convolutions")
    compile: Auto = Field(
        "auto",
        description="torch.compile; auto: where a long run is measured to gain; false also leaves out the CUDA graphs "
        "of steps on a GPU",
    )
    devices: int = Field(
        1,
        ge=1,
        le=1024,
        description="GPUs of one machine that train one network together, each a share of every batch; on a CPU, slots "
        "(`--jobs`). No part of a key: results are those of one device, up to the order of sums. What runs a frozen "
        "network or trains a head alone takes one",
    )

    @field_validator("optimizer_params")
    @classmethod
    def _own_fields_apart(cls, params: Json) -> Json:
        for name in params:
            if name in FIELDS_OF_OPTIMIZERS:
                problem = "'{name}' is a field of the recipe itself; write it beside `optimizer`"
                raise PydanticCustomError("unknown_key", problem, {"key": name, "name": name})
            if name in SET_HERE:
                problem = "'{name}' is chosen by the training loop; take it out"
                raise PydanticCustomError("unknown_key", problem, {"key": name, "name": name})
        return params

    @field_validator("milestones")
    @classmethod
    def _milestones_rise(cls, milestones: list[int]) -> list[int]:
        if milestones != sorted(set(milestones)):
            raise PydanticCustomError("milestones", "milestones rise, and each stands once")
        return milestones

    @model_validator(mode="after")
    def _milestones_are_read(self) -> Self:
        if self.milestones and "schedule" in self.model_fields_set and self.schedule != "step":
            words = "milestones are read by `schedule: step` alone, and it is {schedule} here"
            raise PydanticCustomError("milestones", words, {"schedule": self.schedule})
        return self

    def updated(self, *others: Recipe) -> Recipe:
        """This recipe with every field that the others set; later ones win."""
        values = {name: getattr(part, name) for part in (self, *others) for name in sorted(part.model_fields_set)}
        return Recipe.model_construct(_fields_set=set(values), **{**_RECIPE_DEFAULTS, **values})


def _lengths(value: Any) -> Any:
    """One number of epochs, or a ladder of them."""
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, int) or isinstance(each, bool) or not 1 <= each <= 1_000_000:
            text = "write a whole number from 1 to 1,000,000, or a list of them (given: {value})"
            raise PydanticCustomError("epochs", text, {"value": quoted(repr(each))})
    return value


class ArmRecipe(Recipe):
    """Changes of the recipe for an arm, which may be trained for several lengths."""

    epochs: Annotated[int | list[int], BeforeValidator(_lengths)] = Field(  # type: ignore[assignment]
        10, description="passes over the training set; a list is a ladder: a row of the tables for each length"
    )


_RECIPE_DEFAULTS = {name: getattr(Recipe(), name) for name in Recipe.model_fields}
