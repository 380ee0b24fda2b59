"""Device-hours before anything is trained: what finished stages of the same work took an image, else tuned steps.

Where nothing alike is finished, a step is taken to cost what the student's tuned training step costs and a tuned
forward pass of each teacher; a test image costs a third of a training step. What losses, augmentation, checkpoints and
set-up cost is not in that, which is why the report shows what was predicted beside what was measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from benchbench.costs.estimate import (
    MEASURING,
    TRAINED,
    places_of,
    shown_images,
    tested_images,
    trained_images,
)
from benchbench.costs.experience import GENERATING, KNOWN, Experience
from benchbench.errors import StoreError
from benchbench.plan.model import Plan, Stage
from benchbench.store import Store


class Predictor:
    """Predicts stages one by one; a figure that was once given stands.

    Args:
        plan: whose stages.
        store: with the measurements.
        experience: whether finished stages count, which is not for predictions to hold against those same stages.
    """

    def __init__(self, plan: Plan, store: Store, experience: bool = True):
        self._plan, self._store, self._places = plan, store, places_of(plan)
        self._experience = Experience(plan, store) if experience else None
        self._given: dict[str, float] = {}
        self._measured: dict[str, tuple[float, float]] = {}

    def hours(self, key: str) -> float | None:
        """Device-hours of a stage; None where a measurement is missing, which may have come when it is asked again."""
        if key not in self._given:
            hours = self._hours(self._plan.stages[key])
            if hours is None:
                return None
            self._given[key] = hours
        return self._given[key]

    def _hours(self, stage: Stage) -> float | None:
        if stage.kind not in KNOWN:
            return None
        pace = self._experience.pace(stage) if self._experience else None
        if stage.kind in GENERATING:  # nobody has measured a step of those beforehand
            return pace.hours(self._generated(stage)) if pace else None
        data = str(self._places[stage.key]["data"][1])
        if stage.kind == "outputs":
            images = sum(shown_images(self._plan, stage, data))
            return self._shown(stage, images) if pace is None else pace.hours(images)
        trained, tested = trained_images(self._plan, stage, data), tested_images(self._plan, stage, data)
        return self._trained(stage, trained, tested) if pace is None else pace.hours(trained + tested / TRAINED)

    def _generated(self, stage: Stage) -> int:
        """Steps that train a generator, or images that one makes."""
        job = stage.job
        if stage.kind == "diffusion":
            return job["generator"]["params"]["train_steps"]
        data = next(cell.data for cell in self._plan.cells if stage.key in self._plan.foundations(cell.stage))
        if job["per_class"] is not None:
            return job["per_class"] * self._plan.info[data].classes
        return round(job["times"] * self._plan.train_images(job["data"], data))

    def _shown(self, stage: Stage, images: int) -> float | None:
        forward = self._step(stage, "teacher0")
        return images * forward[0] * forward[1] / 3600 if forward else None

    def _trained(self, stage: Stage, trained: int, tested: int) -> float | None:
        if stage.job["method"] == "linear_probe":
            return 0.0  # its trunk runs in a stage of its own, and is most of it
        training = self._step(stage, "student")
        if training is None:
            return None
        step, held = training
        seconds = trained * step + tested * step / TRAINED
        for number in range(len(stage.job["teachers"])):
            if f"outputs{number}" in stage.needs:
                continue
            forward = self._step(stage, f"teacher{number}")
            if forward is None:
                return None
            seconds += trained * forward[0]
        return seconds * held / 3600

    def _step(self, stage: Stage, role: str) -> tuple[float, float] | None:
        """Seconds of an image by a tuning stage, and the devices it holds at that speed."""
        key = stage.after.get(f"tuning.{role}")
        if key is not None and key not in self._measured:
            try:
                record = self._store.stage("tuning", key).done()
                if record is None:
                    return None
                metrics, devices = record["metrics"], self._plan.devices
                threads = metrics["execution"]["threads"] or devices.num_devices
                held = devices.num_devices if devices.kind == "cuda" else threads
                self._measured[key] = metrics["step_seconds"]["chosen, an image"], held
            except (StoreError, KeyError, TypeError):
                return None
        return self._measured[key] if key is not None else None


def predict(plan: Plan, store: Store) -> dict[str, float | None]:
    """Device-hours of every stage that trains or runs a network, by key; None where a measurement is missing."""
    predictor = Predictor(plan, store)
    return {key: predictor.hours(key) for key, stage in plan.stages.items() if stage.kind not in MEASURING}


def predicted_cells(plan: Plan, predicted: Mapping[str, float | None]) -> dict[str, tuple[float | None, float | None]]:
    """Device-hours of every cell by the key of its stage: its own, and with its share of the stages it stands on.

    Args:
        plan: whose cells.
        predicted: device-hours of its stages by key; one that is not there is left out of the shares.
    """
    stands_on = {cell.stage: [key for key in plan.foundations(cell.stage) if key in predicted] for cell in plan.cells}
    users = Counter(key for cell in plan.cells for key in stands_on[cell.stage])
    found = {}
    for cell in plan.cells:
        own = predicted[cell.stage]
        stages = [(predicted[key], users[key]) for key in stands_on[cell.stage]]
        known = [hours / count for hours, count in stages if hours is not None]
        whole = own + sum(known) if own is not None and len(known) == len(stages) else None
        found[cell.stage] = own, whole
    return found
