"""The time that a stage takes by section, carried over checkpoints, and its cost."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Generic, NotRequired, TypedDict, TypeVar

import torch

from benchbench.specs.records import Cost
from benchbench.specs.stages import BaseSpec
from benchbench.stages.context import StageContext
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account, Clock
from benchbench.training.stop import STOP

# Sections that device-hours leave out.
UNCHARGED = ("loading", "gradients")


class StageTimer:
    """Clock and cost of one stage.

    Args:
        context: of the stage.
        clock: of the cohort, where stages run side by side.

    Attributes:
        account: seconds by section. Reading images and weights is "loading", which is not charged: the first stage
            would pay for everybody's download; nor is "gradients", see `benchbench.training.term_gradients`.
    """

    def __init__(self, context: StageContext[BaseSpec], clock: Clock | None = None):
        self.context, self.device = context, torch.device(context.device)
        self.clock, self.account = clock or Clock(self.device), Account()

    def section(self, name: str) -> AbstractContextManager[None]:
        """Books the time in here under a name."""
        return self.clock.section(name, self.account)

    def cost(self, cohort: int = 1, images: int | None = None) -> Cost:
        """The cost up to now: devices x wall-clock, as it was and as it would have been alone.

        Args:
            cohort: stages that ran side by side.
            images: that a training has used, over all epochs.
        """
        self.clock.settle()
        # A resumed run keeps its first thread count, so those are its devices on a CPU, whatever the worker has now.
        devices = torch.get_num_threads() if self.device.type == "cpu" else self.context.num_devices
        if self.context.world is not None:
            devices *= self.context.world.size
        return Cost(
            seconds=self.account.here,
            alone_seconds=self.account.alone,
            carried_seconds=self.account.carried,
            devices=devices,
            unit=self.context.unit,
            device_hours=_device_hours(self.account.here, devices),
            alone_device_hours=_device_hours(self.account.alone, devices),
            cohort=cohort,
            images=images,
        )


def _device_hours(seconds: dict[str, float], devices: float) -> float:
    return sum(value for name, value in seconds.items() if name not in UNCHARGED) * devices / 3600


class TimedState(TypedDict):
    """The content of a checkpoint.

    Attributes:
        seconds: of the stage by section.
        threads: of the CPU, which the timer adds; not in those of earlier versions.
    """

    seconds: dict[str, float]
    threads: NotRequired[int]


State = TypeVar("State", bound=TimedState)


class ResumableTimer(StageTimer, Generic[State]):
    """The timer of a stage with checkpoints, which go on with its seconds, and on as many CPU threads."""

    def __init__(self, context: StageContext[BaseSpec]):
        super().__init__(context)
        self.checkpoints: Checkpoints[State] = Checkpoints(context.folder, context.checkpoint_seconds, context.meter)

    def load(self, threads: int) -> State | None:
        """The checkpoint's state, where there is one; its seconds are carried over.

        Args:
            threads: of a stage that begins. One that is resumed keeps the count that its first sums were split by.
        """
        state = self.checkpoints.load()
        if state is not None:
            self.account.carry(state["seconds"], state["seconds"])
            if "threads" in state:
                threads = state["threads"]
        torch.set_num_threads(threads)
        return state

    def save(self, state: State) -> None:
        """Writes a checkpoint, with the seconds up to now, and ends the stage where that is asked for."""
        with self.section("checkpoint"):
            self.clock.settle()
            state["seconds"], state["threads"] = self.account.here, torch.get_num_threads()
            self.checkpoints.save(state)
        STOP.leave()
