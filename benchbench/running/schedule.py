"""Stages of a plan by state, and the units of them that can be started next."""

from __future__ import annotations

import bisect
import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchbench.errors import StoreError, one_line
from benchbench.planning.model import KINDS, Plan, Stage
from benchbench.planning.test_part import finished_record, has_dropped_outputs, is_trained
from benchbench.store import Store

COHORT = 8  # most cells that train side by side in one worker


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

    What an end changes is looked up, and not searched for: plans have tens of thousands of stages.

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
        # Needs, of both sorts, that a stage still waits for; a hard one that failed stays.
        self._open: dict[str, set[str]] = {}
        self._users: dict[str, list[str]] = {}
        self._blocked: dict[str, str] = {}  # the failed stage that each needs
        self._order = {key: (KINDS.index(stage.kind), index) for index, (key, stage) in enumerate(plan.stages.items())}
        # Those that can be started, in order: all, and those of each cohort.
        self._ready: list[tuple[tuple[int, int], str]] = []
        self._ready_cohorts: dict[str, list[tuple[tuple[int, int], str]]] = {}
        for key, stage in plan.stages.items():
            self._enter(key, stage, store)
        self._leave_dropped(store)
        for key, stage in self.waiting.items():
            self._link(key, stage)

    def _enter(self, key: str, stage: Stage, store: Store) -> None:
        try:
            record = finished_record(stage, store)
        except StoreError as error:
            self.outcome.failed[key] = one_line(error)
            return
        if record is None:
            self.waiting[key] = stage
            if is_trained(stage, store):  # what is left of it is another work than that of its cohort
                self._alone.add(key)
        else:
            self._done.add(key)
            self.outcome.reused.append(key)

    def _leave_dropped(self, store: Store) -> None:
        """Counts those as done whose cached outputs were removed to make room, and that no waiting stage reads."""
        read = {need for stage in self.waiting.values() for need in (*stage.needs.values(), *stage.soft_needs.values())}
        for key in [key for key, stage in self.waiting.items() if has_dropped_outputs(stage, store)]:
            if key not in read:
                del self.waiting[key]
                self._done.add(key)
                self.outcome.reused.append(key)

    def lacks_needs(self, store: Store) -> bool:
        """True where a stage that a waiting one reads was removed from the store since."""
        needs = {need for stage in self.waiting.values() for need in stage.needs.values()} & self._done
        stages = [self.plan.stages[key] for key in needs]
        return any(
            not store.stage(stage.kind, stage.key).record.exists() or has_dropped_outputs(stage, store)
            for stage in stages
        )

    def _link(self, key: str, stage: Stage) -> None:
        """Notes what a stage waits for."""
        failed = self.outcome.failed
        self._open[key] = set(stage.needs.values()) - self._done
        self._open[key] |= set(stage.soft_needs.values()) - self._done - failed.keys()
        for need in self._open[key]:
            self._users.setdefault(need, []).append(key)
        for need in stage.needs.values():
            if need in failed:
                self._blocked.setdefault(key, need)
        if not self._open[key]:
            self._add_ready(key)

    def _lists(self, key: str) -> list[list[tuple[tuple[int, int], str]]]:
        """The lists of stages that can be started which one is in, where it can."""
        cohort = self._cohort(key)
        return [self._ready, self._ready_cohorts.setdefault(cohort, [])] if cohort else [self._ready]

    def _cohort(self, key: str) -> str | None:
        return None if key in self._alone else self.plan.stages[key].cohort

    def _add_ready(self, key: str) -> None:
        for stages in self._lists(key):
            bisect.insort(stages, (self._order[key], key))

    def _remove_ready(self, key: str) -> None:
        entry = (self._order[key], key)
        for stages in self._lists(key):
            index = bisect.bisect_left(stages, entry)
            if stages[index : index + 1] == [entry]:
                del stages[index]

    def _ended(self, key: str, failed: bool) -> None:
        """Lets those go on that waited for a stage; those that need one that failed are blocked."""
        for user in self._users.pop(key, ()):
            if failed and key in self.plan.stages[user].needs.values():
                self._blocked.setdefault(user, key)
                continue
            self._open[user].discard(key)
            if not self._open[user] and user in self.waiting:
                self._add_ready(user)

    def copy(self) -> Schedule:
        """A schedule in the same state, to try something on."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list | set):
                setattr(other, name, value.copy())
        other._open = {key: needs.copy() for key, needs in self._open.items()}
        other._ready_cohorts = {cohort: stages.copy() for cohort, stages in self._ready_cohorts.items()}
        other.outcome = copy.deepcopy(self.outcome)
        return other

    def start(self, unit: list[Stage]) -> None:
        for stage in unit:
            self._take_out(stage)
            self.running[stage.key] = stage

    def finish(self, stage: Stage) -> None:
        self._finish(stage)
        self.outcome.ran.append(stage.key)

    def finish_elsewhere(self, stage: Stage) -> None:
        """Another process has finished the stage."""
        self._finish(stage)
        self.outcome.elsewhere.append(stage.key)

    def _finish(self, stage: Stage) -> None:
        self._take_out(stage)
        self._done.add(stage.key)
        self._ended(stage.key, failed=False)

    def fail(self, stage: Stage, reason: str) -> None:
        self._take_out(stage)
        self.outcome.failed[stage.key] = reason
        self._ended(stage.key, failed=True)

    def leave_to_others(self, stage: Stage) -> None:
        """Another process has the stage."""
        self._take_out(stage)
        self.elsewhere[stage.key] = stage

    def wait_again(self, stage: Stage) -> None:
        """Another process had the stage, and has not ended it."""
        self._take_out(stage)
        self.waiting[stage.key] = stage
        if not self._open[stage.key]:
            self._add_ready(stage.key)

    def retry_alone(self, stage: Stage) -> None:
        """Puts a running stage back; it is not started beside others again."""
        self._take_out(stage)
        self._alone.add(stage.key)
        self.wait_again(stage)

    def _take_out(self, stage: Stage) -> None:
        if self.waiting.pop(stage.key, None):
            self._remove_ready(stage.key)
        self.running.pop(stage.key, None)
        self.elsewhere.pop(stage.key, None)

    def is_alone(self, stage: Stage) -> bool:
        """True for a stage that has been put back."""
        return stage.key in self._alone

    def blocked(self) -> Iterator[tuple[Stage, Stage]]:
        """Waiting stages that need a failed one, with the failed one; those that the caller fails meanwhile count."""
        while found := [key for key in self._blocked if key in self.waiting]:
            for key in found:
                yield self.waiting[key], self.plan.stages[self._blocked.pop(key)]

    def units(self, num_slots: int, all_slots: int = 1, most: int | None = None) -> list[list[Stage]]:
        """Units that can be started now: single stages, on several slots each or on one, and cells side by side.

        Cells that stand side by side share their teachers' work, and are kept from others' slots: there are no more in
        a unit than each slot has to take.

        Args:
            num_slots: free slots, here and elsewhere; cohorts are split until there is a unit for each.
            all_slots: free or not.
            most: units that are enough; None for all.
        """
        units: list[list[Stage]] = []
        taken: set[str] = set()
        size = min(self.max_cohort, math.ceil(len(self._ready) / max(all_slots, 1)))
        for _, key in self._ready:
            if key in taken:
                continue
            if most is not None and len(units) >= most:
                break
            unit = self._side_by_side(key, taken, size)
            taken.update(unit)
            units.append([self.waiting[each] for each in unit])
        while units and sum(unit[0].devices for unit in units) < num_slots and len(largest := max(units, key=len)) > 1:
            half = len(largest) // 2
            units.append(largest[half:])
            del largest[half:]
        return units

    def _side_by_side(self, key: str, taken: set[str], size: int) -> list[str]:
        """A stage, and the next ones of its cohort that no other unit has taken."""
        cohort = self._cohort(key)
        if not cohort:
            return [key]
        stages = self._ready_cohorts[cohort]
        first = bisect.bisect_left(stages, (self._order[key], key))
        rest = (each for _, each in itertools.islice(stages, first, None) if each not in taken)
        return list(itertools.islice(rest, size))

    def ready(self) -> list[Stage]:
        """Stages whose needs are done and whose soft needs have ended: a failed one only makes a stage slower."""
        return [self.waiting[key] for _, key in self._ready]
