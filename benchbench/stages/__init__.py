"""Kinds of stages: each is a function `run(stage, context) -> record`, in a file of its own.

Imported by workers alone: this is where torch comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbench.stages import calibrate, train
from benchbench.stages.context import StageContext

RUNNERS: dict[str, Callable[[StageContext], dict[str, Any]]] = {
    "teacher": train.run,
    "cell": train.run,
    "calibration": calibrate.run,
}
