"""Stages that have tested on other images than a suite has now: their training holds, and their test is made again.

Keys cover the training split alone of a data set whose splits are known file by file. The spec in a stage's folder says
which test split it saw.
"""

from __future__ import annotations

import json

from benchbench.planning.model import Stage
from benchbench.specs.parts import tests_only
from benchbench.specs.records import StageRecord
from benchbench.specs.stages import OutputsSpec, QualitySpec, TrainingSpec
from benchbench.store import Claim, StageFolder, Store


def finished_record(stage: Stage, store: Store) -> StageRecord | None:
    """The record of a stage that is done, test included and with its files, else None.

    Raises:
        StoreError: it is damaged.
    """
    folder = store.stage(stage.kind, stage.key)
    record = folder.done()
    incomplete = record is not None and (has_dropped_outputs(stage, store) or saw_other_test(stage, folder))
    return None if incomplete else record


def has_dropped_outputs(stage: Stage, store: Store) -> bool:
    """True for a finished stage whose cached outputs were removed to make room, and are made again where needed."""
    return isinstance(stage.spec, OutputsSpec) and store.stage(stage.kind, stage.key).has_dropped_outputs()


def is_trained(stage: Stage, store: Store) -> bool:
    """True where nothing but the test of a stage is to be made again."""
    folder = store.stage(stage.kind, stage.key)
    return folder.earlier_record.exists() or (folder.record.exists() and saw_other_test(stage, folder))


def set_record_aside(folder: StageFolder, claim: Claim | None) -> None:
    """Makes the record of a stage that begins anew, where there is one, its earlier one.

    Raises:
        ClaimLostError: another process has the stage since, and the record may be its.
    """
    if claim is not None:
        claim.require()
    if folder.record.exists():  # of other test images, which the spec in the folder says
        folder.record.replace(folder.earlier_record)


def saw_other_test(stage: Stage, folder: StageFolder) -> bool:
    """True where a stage's folder was filled with another test split than the stage has now."""
    spec = stage.spec
    if not isinstance(spec, TrainingSpec | OutputsSpec | QualitySpec):
        return False
    if (isinstance(spec, OutputsSpec) and "test" not in spec.splits) or spec.kind == "trial":
        return False
    tests = tests_only(spec.data.source.params)
    if not tests:
        return False
    try:
        earlier = json.loads(folder.spec.read_bytes())
    except (OSError, ValueError):
        return False
    before = tests_only(earlier.get("data") if isinstance(earlier, dict) else None)
    return bool(before) and before != tests
