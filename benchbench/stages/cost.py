"""A stage's cost, as its record says it."""

from __future__ import annotations

from typing import Any

import torch

from benchbench.training.clock import Account


def cost_of(account: Account, device: torch.device, held: float, unit: str, cohort: int = 1) -> dict[str, Any]:
    """Device-hours = devices held x wall-clock, as it was here and as it would have been alone.

    Args:
        account: seconds by what they went to. Reading images and weights ("loading") is not charged: the first stage
            would pay for everybody's download.
        device: the training device.
        held: devices that were held.
        unit: of the hours.
        cohort: stages that ran side by side.
    """

    def hours(seconds: dict[str, float]) -> float:
        return sum(value for name, value in seconds.items() if name != "loading") * held / 3600

    return {
        "seconds": account.here,
        "alone_seconds": account.alone,
        "carried_seconds": account.carried,
        "devices": held,
        "unit": unit,
        "device_hours": hours(account.here),
        "alone_device_hours": hours(account.alone),
        "cohort": cohort,
    }
