"""Prices of public pre-training: images of its published recipe at the throughput that was measured here."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.specs.records import CalibrationRecord, StageRecord
from benchbench.specs.stages import CalibrationSpec, StageSpec, TuningSpec
from benchbench.store import StageFolder, Store
from benchbench.suite.schema import PreTraining


class Hours(NamedTuple):
    """Device-hours at the measured throughput, at that of the fastest step, and at that of the median step."""

    estimate: float
    low: float
    high: float


class PretrainingPrices:
    """Estimated device-hours of public pre-training, each computed once.

    Args:
        plan: whose calibrations count.
        store: with the measurements.
    """

    def __init__(self, plan: Plan, store: Store):
        self._plan, self._store, self._measurements = plan, store, Measurements(store)
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
        slow, fast = record.metrics.images_per_second_range or (rate, rate)
        return Hours(*(samples / each * record.cost.devices / 3600 for each in (rate, fast, slow)))

    def _record(self, calibration: str, device: str, num_devices: float) -> CalibrationRecord | None:
        """The record of a calibration on that device: best on as many, then the plan's own, then of the same work."""
        stage = self._plan.stages[calibration]
        records = (self._store.stage(stage.kind, calibration).done(), *self._measurements.of(stage.spec))
        suitable = [
            record
            for record in records
            if isinstance(record, CalibrationRecord) and record.environment.device == device
        ]
        # Device-hours hold for the devices that they were measured on, whatever a run takes.
        suitable.sort(key=lambda record: record.cost.devices != num_devices)
        return suitable[0] if suitable else None


class Measurements:
    """Finished tunings and calibrations of a store, by the work that they measured: on any device, by any worker."""

    def __init__(self, store: Store):
        self._store = store

    def of(self, spec: StageSpec) -> Iterator[StageRecord]:
        """Records of the same work as a spec's, in the order of their keys; those that cannot be read are left out."""
        for folder in self._folders.get(_work(spec), ()):
            with contextlib.suppress(StoreError):
                record = folder.done()
                if record is not None:
                    yield record

    @cached_property
    def _folders(self) -> dict[str, list[StageFolder]]:
        folders = defaultdict(list)
        for kind in ("tuning", "calibration"):
            for folder in self._store.finished(kind):
                with contextlib.suppress(StoreError):
                    spec = folder.read_spec()
                    if isinstance(spec, TuningSpec | CalibrationSpec):
                        folders[_work(spec)].append(folder)
        return folders


def _work(spec: StageSpec) -> str:
    """The subject of a measurement, without its device."""
    return json.dumps(spec.model_dump(mode="json", by_alias=True, exclude={"device", "threads"}), sort_keys=True)
