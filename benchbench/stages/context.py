"""What a stage may use while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.components import Registry
from benchbench.hardware.energy import StageMeter
from benchbench.store import StageFolder


@dataclass(frozen=True)
class StageContext:
    """One stage in one worker.

    Attributes:
        job: the stage's job, paths unwrapped.
        folder: its files.
        needs: the folders of the stages it needs, by role.
        registry: the components.
        device: torch device string.
        threads: CPU threads of this worker.
        held: devices that this worker holds, as the ledger counts them.
        unit: "GPU-hours" or "CPU-hours".
        data_root: where downloads go.
        checkpoint_seconds: how much work a kill may cost.
        report: takes progress.
        meter: of the stage's energy.
    """

    job: dict[str, Any]
    folder: StageFolder
    needs: dict[str, StageFolder]
    registry: Registry
    device: str
    threads: int
    held: float
    unit: str
    data_root: Path
    checkpoint_seconds: float
    report: Callable[[dict[str, Any]], None]
    meter: StageMeter = field(default_factory=StageMeter)
