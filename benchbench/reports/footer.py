"""What every table and picture says of where its numbers come from."""

from __future__ import annotations

import pandas as pd

from benchbench.plan.model import Plan


def provenance(results: pd.DataFrame, plan: Plan, command: str) -> list[str]:
    """Seeds, selection rule and device; then the suite's key and the command that makes the report again."""
    seeds = len(plan.suite.seeds)
    devices = sorted(results.device.dropna().unique()) or [plan.devices.name]
    ran = f"{seeds} seed{'s' if seeds > 1 else ''} a cell; tested: {selection(plan)}, on {', '.join(devices)}"
    return [ran, f"suite key {plan.key[:16]}; made by: {command}"]


def selection(plan: Plan) -> str:
    """Which epoch's weights were tested, in words."""
    rule = plan.suite.selection
    if rule.rule == "last":
        return "the last epoch"
    return f"best epoch on a validation split of {rule.validation:.0%}"
