"""What a public pre-training would cost here: images of its published recipe at the throughput that was measured."""

from __future__ import annotations

from typing import Any

from benchbench.plan.model import Plan
from benchbench.store import Store, read_json
from benchbench.suite.schema import PreTraining

# Device-hours at the median of the measured throughput, and at its upper and lower quartile.
Hours = tuple[float, float, float]


def pretraining_hours(
    recipe: PreTraining | None, calibration: str | None, plan: Plan, store: Store, device: str, held: float
) -> Hours | None:
    """Estimated device-hours and their range; None where the recipe or the throughput is not known.

    Args:
        recipe: of the weights.
        calibration: key of the stage that measures the network's throughput.
        plan: that it belongs to.
        store: where results are kept.
        device: name of the device that the run was on, which need not be the one that reports now.
        held: devices that it held.
    """
    record = _throughput(calibration, plan, store, device, held)
    if record is None or recipe is None or recipe.samples is None:
        return None
    metrics, devices = record["metrics"], record["cost"]["devices"]
    slow, fast = metrics.get("images_per_second_quartiles", [metrics["images_per_second"]] * 2)
    middle, low, high = (recipe.samples / rate * devices / 3600 for rate in (metrics["images_per_second"], fast, slow))
    return middle, low, high


def _throughput(calibration: str | None, plan: Plan, store: Store, device: str, held: float) -> dict[str, Any] | None:
    """The record of a calibration on that device."""
    if calibration is None:
        return None
    wanted = _without_device(plan.stages[calibration].job)
    for folder in (store.stage("calibration", calibration), *store.finished("calibration")):
        record = folder.done()
        if record is None or not folder.spec.exists():
            continue
        where = record["environment"]["device"], record["cost"]["devices"]
        if where == (device, held) and _without_device(read_json(folder.spec)["job"]) == wanted:
            return record
    return None


def _without_device(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in ("device", "threads")}
