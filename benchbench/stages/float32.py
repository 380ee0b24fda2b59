"""Precision in a stage: that of float32 on its device, and the execution that a recipe fixes."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from benchbench.execution.network import ExecutionConfig, Precision
from benchbench.execution.tf32 import has_tf32, tf32_convolutions
from benchbench.specs.parts import Choice
from benchbench.specs.stages import CalibrationSpec, OutputsSpec, QualitySpec, TrainingSpec, TuningSpec
from benchbench.stages.context import StageContext

MeasuredStage = TrainingSpec | OutputsSpec | QualitySpec | TuningSpec | CalibrationSpec


def float32_of(context: StageContext[MeasuredStage]) -> contextlib.AbstractContextManager[None]:
    """The precision of float32 in a stage: convolutions may use TF32 on a GPU that has it, save under `exact`."""
    return tf32_convolutions(torch.device(context.device), uses_tf32(context))


def uses_tf32(context: StageContext[MeasuredStage]) -> bool:
    """True where convolutions in float32 may use TF32 in a stage."""
    spec = context.spec
    precision = spec.precision if isinstance(spec, TuningSpec | CalibrationSpec) else spec.recipe.precision
    return precision != "exact" and has_tf32(torch.device(context.device))


def fixed_execution(
    precision: Literal["fp32", "auto", "bf16", "fp16", "exact"], channels_last: Choice, tf32: bool = False
) -> ExecutionConfig:
    """The execution that a recipe fixes, where nothing has been measured; `tf32` as the stage has it."""
    precisions: dict[str, Precision] = {"bf16": "bf16", "fp16": "fp16"}
    return ExecutionConfig(precisions.get(precision, "fp32"), channels_last is True, tf32=tf32)
