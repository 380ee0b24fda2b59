"""The time that a plan will take on so many slots: its stages at their predicted hours, through the real schedule.

Nothing is run. Set-up, checkpoints and the wait in a cluster's queue are not in it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbench.planning.model import Plan, Stage
from benchbench.running.schedule import COHORT, Schedule
from benchbench.store import Store

SLOTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
ENOUGH = 1.02  # times the longest chain: more slots will not help


@dataclass(frozen=True)
class SimulatedRun:
    """A plan on so many slots.

    Attributes:
        slots: workers side by side.
        hours: from the first start to the last end.
        busy: share of the slots' time in which they work.
        bound: hours that no order of the stages can be under: the longest chain, or the work shared evenly.
    """

    slots: int
    hours: float
    busy: float
    bound: float


def stage_hours(plan: Plan, device_hours: Mapping[str, float | None]) -> dict[str, float] | None:
    """Hours of every stage alone in its slots, by key; None where one is not known.

    Args:
        plan: whose stages.
        device_hours: predicted device-hours; a stage that is absent measures something, and counts as nothing.
    """
    each = plan.devices.num_devices
    hours = {key: device_hours.get(key, 0.0) for key in plan.stages}
    known = {key: value / each / plan.stages[key].devices for key, value in hours.items() if value is not None}
    return known if len(known) == len(hours) else None


def simulate(schedule: Schedule, hours: Mapping[str, float], slots: int) -> SimulatedRun:
    """Runs what is waiting in a schedule; cells side by side take the sum of their hours, as on one device.

    Args:
        schedule: as a run begins with it; it stays as it is.
        hours: of every stage, by key.
        slots: workers side by side; a stage on more devices than that has all of them.
    """
    schedule = schedule.copy()
    left = schedule.waiting.copy()
    bound = max(_longest_chain(left, hours), sum(hours[key] * stage.devices for key, stage in left.items()) / slots)
    now, free, worked = 0.0, slots, 0.0
    ends: list[tuple[float, int, int, list[Stage]]] = []
    started = 0
    while True:
        for stage, needed in schedule.blocked():
            schedule.fail(stage, needed.label)
        for unit in schedule.units(free, slots, most=free) if free else ():
            count = min(unit[0].devices, slots)
            if count > free:  # it waits until as many are free, and those after it let it
                break
            schedule.start(unit)
            duration = sum(hours[stage.key] for stage in unit)
            heapq.heappush(ends, (now + duration, started, count, unit))
            started, free, worked = started + 1, free - count, worked + duration * count
        if not ends:
            break
        now, _, count, unit = heapq.heappop(ends)
        free += count
        for stage in unit:
            schedule.finish(stage)
    return SimulatedRun(slots, now, worked / (slots * now) if now else 0.0, bound)


def simulate_plan(
    plan: Plan, store: Store, device_hours: Mapping[str, float | None], more: bool = False
) -> list[SimulatedRun]:
    """The rest of a plan, on its own slots, and with `more` on others.

    There is nothing where an hour is not known, or all is done.

    Args:
        plan: the plan.
        store: with what is done.
        device_hours: predicted device-hours of its stages, by key.
        more: as `simulate_many`.
    """
    hours, own = stage_hours(plan, device_hours), len(plan.devices.slots)
    schedule = Schedule(plan, store, COHORT)
    if hours is None or not schedule.waiting:
        return []
    return simulate_many(schedule, hours, own) if more else [simulate(schedule, hours, own)]


def simulate_many(schedule: Schedule, hours: Mapping[str, float], own: int) -> list[SimulatedRun]:
    """A plan on more and more slots, the `own` ones among them, until more of them do not help."""
    runs: list[SimulatedRun] = []
    chain = _longest_chain(schedule.waiting, hours)
    for slots in sorted({*SLOTS, own}):
        if slots > own and runs[-1].hours <= ENOUGH * chain:
            break
        runs.append(simulate(schedule, hours, slots))
    return runs


def _longest_chain(stages: Mapping[str, Stage], hours: Mapping[str, float]) -> float:
    """Hours of the longest chain of stages that wait for one another; each comes after those that it needs."""
    ends: dict[str, float] = {}
    for key, stage in stages.items():
        needs: Sequence[str] = [*stage.needs.values(), *stage.soft_needs.values()]
        ends[key] = hours[key] + max((ends.get(need, 0.0) for need in needs), default=0.0)
    return max(ends.values(), default=0.0)
