"""Stores of finished stages, made by hand, and what a merge of them gives."""

from __future__ import annotations

from pathlib import Path

from benchbench.planning.keys import key_of
from benchbench.running.merge import Merged, merge_stores
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.specs.records import StageRecord
from benchbench.specs.stages import StageSpec
from benchbench.store import StageFolder, Store, file_sha256
from tests.specs import (
    SMALL,
    calibration_record,
    calibration_spec,
    cost_record,
    training_record,
    training_spec,
)


def stage(root: Path, seed: int, kind: str = "cell", weights: bytes = b"weights", hours: float = 1.0) -> Path:
    """A finished training, as workers leave one; gives its folder."""
    file = FileSpec(path=f"/home/{root.name}/w.pth", content="ab")
    model = SMALL.model_copy(update={"weights": WeightsSpec(file=file)})
    spec = training_spec(kind=kind, seed=seed, model=model)
    folder = finished(root, spec, training_record(kind=kind, cost=cost_record(device_hours=hours)), weights)
    folder.log.write_text("attempt 1\n")
    return folder.path


def calibration(root: Path) -> Path:
    """A finished stage without weights; gives its folder."""
    return finished(root, calibration_spec(), calibration_record(), None).path


def finished(root: Path, spec: StageSpec, record: StageRecord, weights: bytes | None) -> StageFolder:
    key = key_of(spec)
    folder = Store(root).stage(spec.kind, key)
    folder.path.mkdir(parents=True, exist_ok=True)
    if weights is not None:
        folder.weights.write_bytes(weights)
    digest = file_sha256(folder.weights) if weights is not None else record.weights_sha256
    folder.write_spec(spec)
    folder.write_record(record.model_copy(update={"key": key, "weights_sha256": digest}), [{"epoch": 1}])
    return folder


def merged(*sources: Path, into: Path) -> list[Merged]:
    return list(merge_stores(sources, into))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
