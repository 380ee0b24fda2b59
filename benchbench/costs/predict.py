"""Device-hours before anything is trained, from the seconds that tuning stages have measured.

A step is taken to cost what the student's tuned training step costs and a tuned forward pass of each teacher; a test
image costs a third of a training step. What losses, augmentation, checkpoints and set-up cost is not in it, which is
why the report shows what was predicted beside what was measured.
"""

from __future__ import annotations

from collections import Counter

from benchbench.costs.estimate import (
    COUNTED,
    MEASURING,
    TRAINED,
    places_of,
    shown_images,
    tested_images,
    trained_images,
)
from benchbench.errors import StoreError
from benchbench.plan import Plan, Stage
from benchbench.store import Store


def predict(plan: Plan, store: Store) -> dict[str, float | None]:
    """Device-hours of every stage that trains or runs a network, by key; None where a measurement is missing.

    A linear probe's own training is taken for nothing: its trunk runs in a stage of its own, and is most of it.
    """
    places = places_of(plan)
    found: dict[str, float | None] = {}
    measured: dict[str, tuple[float, float] | None] = {}
    for key, stage in plan.stages.items():
        if stage.kind in MEASURING:
            continue
        if stage.kind not in COUNTED:  # generating images: nobody has measured that yet
            found[key] = None
            continue
        for needed in stage.after.values():
            if needed not in measured:
                measured[needed] = _image_seconds(plan, store, needed)
        found[key] = _hours(plan, stage, str(places[key]["data"][1]), measured)
    return found


def predicted_cells(plan: Plan, store: Store) -> dict[str, tuple[float | None, float | None]]:
    """Device-hours of every cell by the key of its stage: its own, and with its share of the stages it stands on."""
    predicted = predict(plan, store)
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


def _image_seconds(plan: Plan, store: Store, key: str) -> tuple[float, float] | None:
    """Seconds of an image by a tuning stage, and the devices it holds at that speed."""
    try:
        record = store.stage(plan.stages[key].kind, key).done()
        if record is None:
            return None
        metrics = record["metrics"]
        threads = metrics["execution"]["threads"] or plan.devices.held
        return metrics["step_seconds"]["chosen, an image"], plan.devices.held if _on_gpu(plan) else threads
    except (StoreError, KeyError, TypeError):
        return None


def _on_gpu(plan: Plan) -> bool:
    return plan.devices.kind == "cuda"


def _hours(plan: Plan, stage: Stage, data: str, measured: dict[str, tuple[float, float] | None]) -> float | None:
    if stage.kind == "outputs":
        forward = measured.get(stage.after.get("tuning.teacher0", ""))
        return sum(shown_images(plan, stage, data)) * forward[0] * forward[1] / 3600 if forward else None
    if stage.job["method"] == "linear_probe":
        return 0.0
    training = measured.get(stage.after.get("tuning.student", ""))
    if training is None:
        return None
    step, held = training
    images = trained_images(plan, stage, data)
    seconds = images * step + tested_images(plan, stage, data) * step / TRAINED
    for number in range(len(stage.job["teachers"])):
        if f"outputs{number}" in stage.needs:
            continue
        forward = measured.get(stage.after.get(f"tuning.teacher{number}", ""))
        if forward is None:
            return None
        seconds += images * forward[0]
    return seconds * held / 3600
