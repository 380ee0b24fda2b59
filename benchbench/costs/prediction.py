"""Device-hours before anything is trained: from finished stages of the same work, else from tuned steps.

Where nothing alike is finished, a step is taken to cost as much as the student's tuned training step and a tuned
forward pass of each teacher; a test image costs a third of a training step. Losses, augmentation, checkpoints and
set-up are not in that, which is why the report shows predictions beside measurements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from benchbench.costs.estimate import FORWARDS_PER_STEP, evaluation_images, forward_images, training_images, views_of
from benchbench.costs.history import PREDICTED_KINDS, History, Pace
from benchbench.costs.locs import locs_of
from benchbench.errors import StoreError
from benchbench.planning.model import Plan, Stage
from benchbench.specs.records import TuningRecord
from benchbench.specs.stages import DiffusionSpec, OutputsSpec, SynthesisSpec, TrainingSpec
from benchbench.store import Store


class TunedStep(NamedTuple):
    """Seconds of one image at the tuned speed, and the devices that the network uses at it."""

    seconds: float
    num_devices: float


class Predictor:
    """Predicts stages one by one; a prediction that was once given stays.

    Args:
        plan: whose stages.
        store: with the measurements.
        use_history: whether finished stages count, which is not for predictions to compare with those same stages.
    """

    def __init__(self, plan: Plan, store: Store, use_history: bool = True):
        self._plan, self._store = plan, store
        self._data = {key: locs.data for key, locs in locs_of(plan).items()}
        self._history = History(plan, store) if use_history else None
        self._predictions: dict[str, float] = {}
        self._tuned: dict[str, TunedStep] = {}

    def hours(self, key: str) -> float | None:
        """Device-hours of a stage; None where a measurement is missing, which may be there at the next call."""
        if key not in self._predictions:
            hours = self._hours(self._plan.stages[key])
            if hours is None:
                return None
            self._predictions[key] = hours
        return self._predictions[key]

    def _hours(self, stage: Stage) -> float | None:
        spec = stage.spec
        pace = self._history.pace(stage) if self._history else None
        if isinstance(spec, DiffusionSpec | SynthesisSpec):  # no step of those is measured beforehand
            return pace.hours(self._generation_units(stage.key, spec)) if pace else None
        if isinstance(spec, OutputsSpec):
            return self._outputs(stage, spec, pace)
        if isinstance(spec, TrainingSpec):
            return self._training(stage, spec, pace)
        return None

    def _generation_units(self, key: str, spec: DiffusionSpec | SynthesisSpec) -> int:
        """Steps that train a generator, or images that one generates."""
        if isinstance(spec, DiffusionSpec):
            steps = spec.generator.params["train_steps"]
            assert isinstance(steps, int)
            return steps
        data = next(cell.data for cell in self._plan.cells if key in self._plan.dependencies(cell.stage))
        if spec.per_class is not None:
            return spec.per_class * self._plan.info[data].classes
        return round((spec.times or 0.0) * self._plan.train_images(spec.data, data))

    def _outputs(self, stage: Stage, spec: OutputsSpec, pace: Pace | None) -> float | None:
        images = sum(forward_images(self._plan, spec, self._data[stage.key]))
        if pace is not None:
            return pace.hours(images)
        forward = self._step(stage, "teacher0")
        return images * forward.seconds * forward.num_devices / 3600 if forward else None

    def _training(self, stage: Stage, spec: TrainingSpec, pace: Pace | None) -> float | None:
        data = self._data[stage.key]
        images, evaluated = training_images(self._plan, spec, data), evaluation_images(self._plan, spec, data)
        if pace is not None:
            return pace.hours(images + evaluated / FORWARDS_PER_STEP)
        if spec.trains_head_alone:
            return 0.0  # its trunk runs in a stage of its own, and is most of it
        step = self._step(stage, "student")
        if step is None:
            return None
        one_pass = step.seconds / FORWARDS_PER_STEP
        frozen = spec.method == "linear_probe"  # a head, on a trunk that takes no backward pass
        views = views_of(self._plan, spec)
        seconds = images * views * (one_pass if frozen else step.seconds) + evaluated * one_pass
        for index in range(len(spec.teachers)):
            if f"outputs{index}" in stage.needs:
                continue
            forward = self._step(stage, f"teacher{index}")
            if forward is None:
                return None
            seconds += images * views * forward.seconds
        return seconds * step.num_devices / 3600

    def _step(self, stage: Stage, role: str) -> TunedStep | None:
        """The measurement of the stage that tunes a network; None where there is none yet."""
        key = stage.soft_needs.get(f"tuning.{role}")
        if key is None:
            return None
        if key not in self._tuned:
            step = self._measured(key)
            if step is None:
                return None
            self._tuned[key] = step
        return self._tuned[key]

    def _measured(self, key: str) -> TunedStep | None:
        try:
            record = self._store.stage("tuning", key).done()
        except StoreError:
            return None
        seconds = record.metrics.step_seconds.get("chosen, an image") if isinstance(record, TuningRecord) else None
        if not isinstance(record, TuningRecord) or seconds is None:
            return None
        devices = self._plan.devices
        threads = record.metrics.execution.threads or devices.num_devices
        return TunedStep(seconds, threads if devices.kind == "cpu" else devices.num_devices)


class CellHours(NamedTuple):
    """Predicted device-hours of a cell; None where a measurement is missing.

    Attributes:
        own: of its own stage.
        whole: with its share of the stages that it depends on.
    """

    own: float | None
    whole: float | None


def predict(plan: Plan, store: Store) -> dict[str, float | None]:
    """Device-hours of every stage that a cell needs, by key; None where a measurement is missing.

    Without stages that measure something, such as the quality of generated images: nothing predicts those.
    """
    predictor = Predictor(plan, store)
    return {key: predictor.hours(key) for key, stage in plan.stages.items() if stage.kind in PREDICTED_KINDS}


def predicted_cells(plan: Plan, predicted: Mapping[str, float | None]) -> dict[str, CellHours]:
    """Device-hours of every cell by the key of its stage.

    Args:
        plan: whose cells.
        predicted: device-hours of its stages by key; one that is absent is left out of the shares.
    """
    dependencies = {
        cell.stage: [key for key in plan.dependencies(cell.stage, own_seed=True) if key in predicted]
        for cell in plan.cells
    }
    users = Counter(key for cell in plan.cells for key in dependencies[cell.stage])
    cells = {}
    for cell in plan.cells:
        own = predicted[cell.stage]
        stages = [(predicted[key], users[key]) for key in dependencies[cell.stage]]
        shares = [hours / count for hours, count in stages if hours is not None]
        whole = own + sum(shares) if own is not None and len(shares) == len(stages) else None
        if cell.trials:  # which of them will be chosen is not known
            trials = [predicted[trial.stage] for trial in cell.trials]
            known = [hours for hours in trials if hours is not None]
            own = own + sum(known) / len(known) if own is not None and len(known) == len(trials) else None
        cells[cell.stage] = CellHours(own, whole)
    return cells
