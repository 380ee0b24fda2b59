"""The files of one stage."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic_core import from_json

from benchbench.errors import StoreError
from benchbench.specs.consistency import find_contradiction, is_curve_row
from benchbench.specs.records import STAGE_RECORD, CurveRow, OutputsRecord, RecordPart, StageRecord
from benchbench.specs.stages import STAGE_SPEC, StageSpec
from benchbench.store.claims import Claim
from benchbench.store.fencing import put_fence, remove_fence
from benchbench.store.files import (
    file_sha256,
    read_bytes,
    read_typed,
    temporary_path,
    unreadable,
    write_atomic,
    write_json,
)
from benchbench.store.processes import this_process


class StageState(RecordPart):
    """State of a stage that is not finished; all defaults where it was never started.

    Attributes:
        status: None before the first attempt.
        attempts: starts since it was last finished.
        pid: process of the worker.
        host: its machine.
        started: start of the last attempt, in seconds since the epoch.
        reason: of a failure.
    """

    status: Literal["running", "failed"] | None = None
    attempts: int = 0
    pid: int | None = None
    host: str | None = None
    started: float | None = None
    reason: str | None = None


class StageFolder:
    """Files of one stage."""

    def __init__(self, path: Path):
        self.path = path

    # Computed on request: a report opens tens of thousands of folders, and one file in each.
    spec = property(lambda self: self.path / "spec.json")
    state = property(lambda self: self.path / "state.json")
    record = property(lambda self: self.path / "record.json")
    # The record of a finished stage whose test images have changed, until it is tested again.
    earlier_record = property(lambda self: self.path / "record.earlier.json")
    curve = property(lambda self: self.path / "curve.jsonl")
    log = property(lambda self: self.path / "log.txt")
    checkpoint = property(lambda self: self.path / "checkpoint.pt")
    weights = property(lambda self: self.path / "weights.safetensors")
    predictions = property(lambda self: self.path / "predictions.npz")
    outputs = property(lambda self: self.path / "outputs")
    outputs_removed = property(lambda self: self.path / "outputs.removed")

    def done(self) -> StageRecord | None:
        """The record of a finished stage, else None.

        Raises:
            StoreError: it is damaged, or contradicts itself.
        """
        try:
            record = read_typed(self.record, STAGE_RECORD)
        except FileNotFoundError:
            return None
        if absent := record.absent():
            raise unreadable(self.record, StoreError(f"{record.kind}.{absent[0]}: Field required"))
        if contradiction := find_contradiction(record):
            raise unreadable(self.record, StoreError(contradiction), "contradicts itself")
        return record

    def has_dropped_outputs(self) -> bool:
        """True for a finished stage whose cached outputs were removed to make room; its record is still there."""
        return self.outputs_removed.exists() and self.record.exists() and not self.outputs.is_dir()

    def read_spec(self) -> StageSpec:
        """The stage's spec.

        Raises:
            StoreError: it is absent or damaged.
        """
        try:
            return read_typed(self.spec, STAGE_SPEC)
        except FileNotFoundError as error:
            raise unreadable(self.spec, error) from None

    def read_curve(self) -> list[CurveRow]:
        """Rows of a finished training, one per epoch; none where there is no readable curve."""
        try:
            rows = from_json(b"[%s]" % read_bytes(self.curve).strip().replace(b"\n", b","))
        except (OSError, ValueError):
            return []
        return [row for row in rows if is_curve_row(row)]

    def read_state(self) -> StageState:
        """The state; a damaged one counts as none, since the record and the checkpoint decide."""
        try:
            return StageState.model_validate_json(read_bytes(self.state))
        except (OSError, ValueError):
            return StageState()

    def write_spec(self, spec: StageSpec) -> None:
        """Writes the spec; the folder must exist."""
        write_json(self.spec, spec.as_json())

    def write_state(self, state: StageState) -> None:
        """Writes the state; the folder must exist."""
        write_json(self.state, state.model_dump(mode="json"))

    def write_record(self, record: StageRecord, curve: Sequence[CurveRow] = ()) -> None:
        """Finishes the stage: writes its curve, then its record; the folder must exist.

        Raises:
            ValueError: a number of the record is NaN or infinite; nothing is written then.
        """
        text = json.dumps(record.model_dump(), indent=1, allow_nan=False)
        write_atomic(self.curve, "".join(json.dumps(row) + "\n" for row in curve).encode())
        write_atomic(self.record, text.encode())

    def hold(self, claim: Claim | None) -> None:
        """Has every write into the folder look at the claim on the stage first, from here on; nothing without one.

        Raises:
            ClaimLostError: another process has the stage since.
        """
        if claim is not None:
            put_fence(self.path, claim)
            if claim.contested:
                claim.require()
                self.detach()

    def let_go(self) -> None:
        """Ends what `hold` began."""
        remove_fence(self.path)

    def write_loss(self, claim: Claim | None, text: str) -> None:
        """Writes why an attempt has lost the stage, into a log of its own: the stage's is the successor's."""
        here, number = this_process(), claim.number if claim else 0
        self.log.with_name(f"log.{here.host}-{here.pid}-{number}.txt").write_text(f"{text}\n", encoding="utf-8")

    def detach(self) -> None:
        """Puts copies in the place of files that another process may have open to write, and goes on to write to."""
        for path in (self.log, *sorted(self.outputs.glob("*.npy"))):
            with contextlib.suppress(FileNotFoundError):
                copy = temporary_path(path)
                shutil.copyfile(path, copy)
                copy.replace(path)

    def verified_weights(self) -> Path:
        """The weights of a finished stage.

        Raises:
            StoreError: they are absent or differ from the record's hash.
        """
        record = self.done()
        expected = record.weights_sha256 if record else None
        if expected is None or not self.weights.exists() or file_sha256(self.weights) != expected:
            raise StoreError(f"{self.weights} is missing or damaged; delete {self.path} to train it again")
        return self.weights

    def verified_outputs(self) -> tuple[OutputsRecord, dict[str, Path]]:
        """The record of a finished stage of cached outputs, and its files by name.

        Raises:
            StoreError: one is absent or differs from the record's hash.
        """
        record = self.done()
        if not isinstance(record, OutputsRecord):
            raise StoreError(f"{self.path} holds no finished stage of outputs; run the suite again")
        files = {name: self.outputs / f"{name}.npy" for name in record.outputs.sha256}
        for name, file in files.items():
            if not file.exists() or file_sha256(file) != record.outputs.sha256[name]:
                raise StoreError(f"{file} is missing or damaged; delete {self.path} to compute it again")
        return record, files
