"""Stages run in this process, as a worker runs them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from benchbench.components import Registry
from benchbench.specs.stages import StageSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.store import StageFolder


def stage_context(spec: StageSpec, folder: Path, registry: Registry, **changes: Any) -> StageContext:
    """A stage on one CPU thread, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults: dict[str, Any] = {
        "needs": {},
        "device": "cpu",
        "threads": 1,
        "num_devices": 1,
        "unit": "CPU-hours",
        "data_root": folder.parent / "data",
        "checkpoint_seconds": 1e9,
        "report": lambda progress: None,
    }
    return StageContext(spec=spec, folder=StageFolder(folder), registry=registry, **{**defaults, **changes})


def finish(module: ModuleType, context: StageContext) -> StageResult:
    """Runs a stage and writes its record and curve, as the worker does."""
    result = module.run(context)
    context.folder.write_record(result.record, result.curve)
    return result
