"""Limits of a plan: the size of its grid, checked before it is expanded, and the devices that it asks for."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.planning.grid import GridPoint
from benchbench.planning.model import Plan
from benchbench.suite.file import SuiteFile

# Planning so many takes some ten seconds.
MOST_CELLS = 10_000


def limited_points(file: SuiteFile, points: Iterable[GridPoint]) -> list[GridPoint]:
    """The points of a grid.

    Raises:
        SuiteError: there are more cells, their trials included, than can be planned.
    """
    seeds, checked, cells = len(file.suite.seeds), [], 0
    for point in points:
        checked.append(point)
        cells += seeds * (1 + len(point.trials))
        if cells > MOST_CELLS:
            part = "seeds" if seeds > len(file.suite.arms) else "arms"
            raise file.error(f"more than {MOST_CELLS:,} cells in the grid", [part], "split the suite")
    return checked


def check_devices(plan: Plan, keys: Iterable[str]) -> None:
    """Refuses stages that take more devices than one of them can have here.

    Args:
        plan: the stages, and the devices at hand.
        keys: of the stages that are to run.

    Raises:
        SuiteError: there are not so many of one kind.
    """
    most, devices = plan.devices.most_together, plan.devices
    for stage in (plan.stages[key] for key in keys if plan.stages[key].devices > most):
        if devices.kind == "cuda":
            there = f"{most} of one kind" if devices.models else f"{most}"
            hint = "take fewer, which gives the same results"
        else:
            there, hint = f"{most} (`--jobs`)", f"raise --jobs to {stage.devices}, or take fewer: the same results"
        problem = f"{stage.devices} devices for '{stage.label}' are more than there are here: {there}"
        raise plan.file.error(problem, plan.device_locs[stage.key], hint)
