"""The context in which a stage runs, and the result that it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from benchbench.components import Registry
from benchbench.hardware.energy import StageMeter
from benchbench.specs.records import CurveRow, Progress, StageRecord, Unit
from benchbench.specs.stages import BaseSpec
from benchbench.store import StageFolder

if TYPE_CHECKING:
    from benchbench.training.distributed import World

SpecT = TypeVar("SpecT", bound=BaseSpec, covariant=True)


@dataclass(frozen=True)
class StageContext(Generic[SpecT]):
    """One stage in one worker.

    Attributes:
        spec: of the stage.
        folder: its files.
        needs: the folders of the stages it needs, by role.
        registry: the components.
        device: torch device string.
        threads: CPU threads of this worker.
        num_devices: devices of this worker, as the ledger counts them.
        unit: of its cost.
        data_root: folder of downloads.
        checkpoint_seconds: seconds of work that a kill may cost.
        report: takes progress.
        meter: of the stage's energy.
        world: of several processes that train its network together; None where this one does.
    """

    spec: SpecT
    folder: StageFolder
    needs: dict[str, StageFolder]
    registry: Registry
    device: str
    threads: int
    num_devices: float
    unit: Unit
    data_root: Path
    checkpoint_seconds: float
    report: Callable[[Progress], None]
    meter: StageMeter = field(default_factory=StageMeter)
    world: World | None = None

    @property
    def leads(self) -> bool:
        """True where this process writes the stage's files."""
        return self.world is None or self.world.leads


@dataclass(frozen=True)
class StageResult:
    """A finished stage's record, and its training curve where it has one.

    The worker adds to the record: key, label, environment, energy and peak memory.
    """

    record: StageRecord
    curve: list[CurveRow] = field(default_factory=list)
