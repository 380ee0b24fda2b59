"""A store with every stage of a plan, of invented records: nothing is run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchbench.experiment import Experiment
from benchbench.planning.model import Plan, Stage
from benchbench.specs.records import Environment, StageRecord
from benchbench.store import StageFolder, Store
from tests import specs

SIZE = 5000  # bytes of each stage's cached outputs

# A frozen teacher's outputs on two views are cached for a student.
CACHED = {
    "recipes": {"default": {"epochs": 1, "batch_size": 20, "image_size": 32, "precision": "exact", "views": 2}},
}


def record_of(stage: Stage) -> StageRecord:
    """A record of a stage's kind."""
    make = {"tuning": specs.tuning_record, "outputs": specs.outputs_record, "calibration": specs.calibration_record}
    record = make[stage.kind]() if stage.kind in make else specs.training_record(kind=stage.kind)
    return record.model_copy(update={"key": stage.key, "label": stage.label, "environment": Environment(device="cpu")})


def finish(store: Store, stage: Stage) -> StageFolder:
    """Writes a stage as if it had run to its end."""
    folder = store.stage(stage.kind, stage.key)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_spec(stage.spec)
    folder.log.write_text("attempt 1\n")
    if stage.kind == "outputs":
        folder.outputs.mkdir(exist_ok=True)
        (folder.outputs / "train.embedding.npy").write_bytes(bytes(SIZE))
    folder.write_record(record_of(stage))
    return folder


def full_store(root: Path, plan: Plan) -> Store:
    """A store with every stage of a plan."""
    store = Store(root)
    store.open()
    for stage in plan.stages.values():
        finish(store, stage)
    return store


def age(folder: StageFolder, days: float) -> None:
    """Makes a stage so old."""
    then = time.time() - 86400 * days
    for path in (*folder.path.rglob("*"), folder.path):
        os.utime(path, (then, then))


def weights(experiment: Experiment) -> dict[str, str | None]:
    """Hashes of the weights of all stages."""
    folders = {key: experiment.store.stage(stage.kind, key) for key, stage in experiment.plan.stages.items()}
    return {key: folder.done().weights_sha256 for key, folder in folders.items()}
