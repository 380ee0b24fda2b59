"""Stages of a plan by state, and the units of them that can be started next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchbench.errors import StoreError, one_line
from benchbench.planning.model import KINDS, Plan, Stage
from benchbench.planning.test_part import finished_record, is_trained
from benchbench.store import Store


@dataclass
class Outcome:
    """Result of a run.

    Attributes:
        ran: keys of the stages that this run finished.
        reused: keys of those that were done before.
        elsewhere: keys of those that other processes on the store finished meanwhile.
        failed: reasons by key, for those that failed or need one that did.
        stopped: true where its time was up before all had ended.
    """

    ran: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


class Schedule:
    """State of every stage of a plan, in the order in which stages may start.

    Args:
        plan: the stages.
        store: a stage with a record there is done; one whose record cannot be read has failed.
        max_cohort: most cells that train side by side.

    Attributes:
        waiting, running: stages by key.
        elsewhere: stages that other processes run, by key.
        outcome: of those that have ended.
    """

    def __init__(self, plan: Plan, store: Store, max_cohort: int):
        self.plan, self.max_cohort = plan, max_cohort
        self.waiting: dict[str, Stage] = {}
        self.running: dict[str, Stage] = {}
        self.elsewhere: dict[str, Stage] = {}
        self.outcome = Outcome()
        self._done: set[str] = set()
        self._alone: set[str] = set()
        for key, stage in plan.stages.items():
            try:
                record = finished_record(stage, store)
            except StoreError as error:
                self.outcome.failed[key] = one_line(error)
                continue
            if record is None:
                self.waiting[key] = stage
                if is_trained(stage, store):  # what is left of it is another work than that of its cohort
                    self._alone.add(key)
            else:
                self._done.add(key)
                self.outcome.reused.append(key)

    def start(self, unit: list[Stage]) -> None:
        for stage in unit:
            self.running[stage.key] = self.waiting.pop(stage.key)

    def finish(self, stage: Stage) -> None:
        del self.running[stage.key]
        self._done.add(stage.key)
        self.outcome.ran.append(stage.key)

    def fail(self, stage: Stage, reason: str) -> None:
        self._take_out(stage)
        self.outcome.failed[stage.key] = reason

    def leave_to_others(self, stage: Stage) -> None:
        """Another process has the stage."""
        self._take_out(stage)
        self.elsewhere[stage.key] = stage

    def finish_elsewhere(self, stage: Stage) -> None:
        """Another process has finished the stage."""
        self._take_out(stage)
        self._done.add(stage.key)
        self.outcome.elsewhere.append(stage.key)

    def wait_again(self, stage: Stage) -> None:
        """Another process had the stage, and has not ended it."""
        self._take_out(stage)
        self.waiting[stage.key] = stage

    def _take_out(self, stage: Stage) -> None:
        for stages in (self.waiting, self.running, self.elsewhere):
            stages.pop(stage.key, None)

    def retry_alone(self, stage: Stage) -> None:
        """Puts a running stage back; it is not started beside others again."""
        self.waiting[stage.key] = self.running.pop(stage.key)
        self._alone.add(stage.key)

    def is_alone(self, stage: Stage) -> bool:
        """True for a stage that has been put back."""
        return stage.key in self._alone

    def blocked(self) -> Iterator[tuple[Stage, Stage]]:
        """Waiting stages that need a failed one, with the failed one; those that the caller fails meanwhile count."""
        for stage in list(self.waiting.values()):
            failed = [key for key in stage.needs.values() if key in self.outcome.failed]
            if failed:
                yield stage, self.plan.stages[failed[0]]

    def units(self, num_slots: int) -> list[list[Stage]]:
        """All that can be started now: single stages, on several slots each or on one, and cells side by side.

        Args:
            num_slots: free slots, here and elsewhere; cohorts are split until there is a unit for each.
        """
        units: list[list[Stage]] = []
        last_units: dict[str, list[Stage]] = {}
        for stage in self.ready():
            cohort = None if stage.key in self._alone else stage.cohort
            unit = last_units.get(cohort) if cohort else None
            if unit is None or len(unit) >= self.max_cohort:
                unit = []
                units.append(unit)
            if cohort:
                last_units[cohort] = unit
            unit.append(stage)
        while units and sum(unit[0].devices for unit in units) < num_slots and len(largest := max(units, key=len)) > 1:
            half = len(largest) // 2
            units.append(largest[half:])
            del largest[half:]
        return units

    def ready(self) -> list[Stage]:
        """Stages whose needs are done and whose soft needs have ended: a failed one only makes a stage slower."""
        ended = self._done | self.outcome.failed.keys()
        ready = [
            stage
            for stage in self.waiting.values()
            if self._done.issuperset(stage.needs.values()) and ended.issuperset(stage.soft_needs.values())
        ]
        return sorted(ready, key=lambda stage: KINDS.index(stage.kind))
