"""Prices of public pre-training: images of its published recipe at the throughput that was measured here."""

from __future__ import annotations

from typing import NamedTuple

from benchbench.planning.model import Plan
from benchbench.specs.parts import Json
from benchbench.specs.records import CalibrationRecord
from benchbench.specs.stages import CalibrationSpec, StageSpec
from benchbench.store import StageFolder, Store
from benchbench.suite.schema import PreTraining


class Hours(NamedTuple):
    """Device-hours at the median of the measured throughput, and at its upper and lower quartile."""

    median: float
    low: float
    high: float


class PretrainingPrices:
    """Estimated device-hours of public pre-training, each computed once.

    Args:
        plan: whose calibrations count.
        store: with the measurements.
    """

    def __init__(self, plan: Plan, store: Store):
        self._plan, self._store = plan, store
        self._hours: dict[tuple[float, str, str, float], Hours | None] = {}

    def hours(
        self, recipe: PreTraining | None, calibration: str | None, device: str, num_devices: float
    ) -> Hours | None:
        """Estimated device-hours and their range; None where the recipe or the throughput is not known.

        Args:
            recipe: of the weights.
            calibration: key of the stage that measures the network's throughput.
            device: name of the device that the run was on, which need not be the one that reports now.
            num_devices: devices that it used.
        """
        if recipe is None or recipe.samples is None or calibration is None:
            return None
        question = recipe.samples, calibration, device, num_devices
        if question not in self._hours:
            self._hours[question] = self._measured(*question)
        return self._hours[question]

    def _measured(self, samples: float, calibration: str, device: str, num_devices: float) -> Hours | None:
        record = self._record(calibration, device, num_devices)
        if record is None:
            return None
        rate = record.metrics.images_per_second
        slow, fast = record.metrics.images_per_second_quartiles or (rate, rate)
        return Hours(*(samples / each * record.cost.devices / 3600 for each in (rate, fast, slow)))

    def _record(self, calibration: str, device: str, num_devices: float) -> CalibrationRecord | None:
        """The record of a calibration on that device: the plan's own, or that of the same work elsewhere."""
        work = _without_device(self._plan.stages[calibration].spec)
        own = self._store.stage("calibration", calibration)
        for folder in (own, *self._store.finished("calibration")):
            record = folder.done()
            if not isinstance(record, CalibrationRecord) or not folder.spec.exists():
                continue
            if (record.environment.device, record.cost.devices) != (device, num_devices):
                continue
            if _work_of(folder) == work:
                return record
        return None


def _work_of(folder: StageFolder) -> Json | None:
    spec = folder.read_spec()
    return _without_device(spec) if isinstance(spec, CalibrationSpec) else None


def _without_device(spec: StageSpec) -> Json:
    return spec.model_dump(mode="json", by_alias=True, exclude={"device", "threads"})
