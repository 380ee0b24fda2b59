"""Notes at the end of every table and figure: the origin of its numbers."""

from __future__ import annotations

import pandas as pd

from benchbench.planning.model import Plan


def footer(results: pd.DataFrame, plan: Plan, command: str) -> list[str]:
    """Seeds, selection rule and device; then the suite's key and the command that makes the report again."""
    seeds = len(plan.suite.seeds)
    devices = sorted(results.device.dropna().unique()) or [plan.devices.name]
    runs = f"{seeds} seed{'s' if seeds > 1 else ''} per cell; tested: {selection(plan)}, on {', '.join(devices)}"
    return [runs, f"suite key {plan.key[:16]}; made by: {command}"]


def reference_steps(results: pd.DataFrame) -> str:
    """The time of a reference step on each device of the runs, in words; empty where it was not measured."""
    seconds = results.dropna(subset="reference_seconds").groupby("device").reference_seconds.median()
    return ", ".join(f"{1000 * value:.3g} ms on {device}" for device, value in seconds.items())


def selection(plan: Plan) -> str:
    """The epoch whose weights were tested, in words."""
    rule = plan.suite.selection
    if rule.rule == "last":
        return "the last epoch"
    return f"best epoch on a validation split of {rule.validation:.0%}"
