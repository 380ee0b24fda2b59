"""Stage folders on disk: atomic writes, verified reads, one writer.

runs/store.json                     the store's format
runs/cell/1a2b3c.../spec.json       the stage's spec, that its key is taken over; see `benchbench.specs.stages`
                    state.json      running or failed, attempts, reason
                    curve.jsonl     one line per epoch
                    log.txt         output of the worker
                    checkpoint.pt   while it runs
                    weights.safetensors   of a stage that trains
                    outputs/*.npy         of a stage that runs a frozen network over a data set
                    record.json     written last: the stage is done; see `benchbench.specs.records`
runs/ledger/RUN.jsonl               time of each run by purpose; see `benchbench.costs.ledger`
runs/worker-SLOT.log, fork-server.log   output of processes outside of any stage
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from io import BufferedWriter
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from benchbench.errors import StoreError, did_you_mean, one_line
from benchbench.specs.consistency import find_contradiction, is_curve_row
from benchbench.specs.records import STAGE_RECORD, CurveRow, OutputsRecord, RecordPart, StageRecord
from benchbench.specs.stages import STAGE_SPEC, StageSpec

# 1: records and specs without a kind. 2: typed records and specs, one class for each kind of stage.
FORMAT = 2
KEY_LENGTH = 16  # of a stage's key, as its folder is called
LARGEST = 64 * 2**20  # bytes of a file of JSON
LONGEST_REASON = 300  # characters


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or the run after a kill, sees the old content or the new, never a part.

    Each writer has a temporary file of its own, so that several do not disturb one another. Those of writers that were
    killed are removed by the next one.
    """
    remove_leftovers(path.parent, path.name)
    with _temporary(path) as stream:
        try:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(stream.name)
            raise


def _temporary(path: Path) -> BufferedWriter:
    """A new file beside another, locked while its writer lives."""
    while True:
        stream = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp").open("xb")
        with contextlib.suppress(OSError):  # a file system without locks, where nothing is removed either
            fcntl.flock(stream, fcntl.LOCK_EX)
        if os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()  # taken for a leftover before it was locked


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Removes temporary files of writers that were killed: those of one file, or of a folder and all below it."""
    pattern = f".{glob.escape(name)}*.tmp"
    for path in folder.glob(pattern) if name else folder.rglob(pattern):
        with contextlib.suppress(OSError), path.open("rb") as stream:  # BlockingIOError: its writer lives
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; a NaN is refused, since no JSON reader need take it."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        StoreError: the file is not valid JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, OSError, RecursionError) as error:
        raise _unreadable(path, error) from None


def read_bytes(path: Path) -> bytes:
    """The content of a file of JSON; a ValueError, and nothing read, where it is larger than any of ours."""
    with path.open("rb") as stream:
        if (size := os.fstat(stream.fileno()).st_size) > LARGEST:
            raise ValueError(f"it has {size:,} bytes, and at most {LARGEST:,} are read")
        return stream.read(LARGEST)


T = TypeVar("T")


def _read_typed(path: Path, adapter: TypeAdapter[T]) -> T:
    """Reads JSON of a stage's folder into its class.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it is not JSON, has a name twice, or is not of that class.
    """
    try:
        content = read_bytes(path)
        value = adapter.validate_json(content)
        json.loads(content, object_pairs_hook=_require_unique)  # not nested deeper than the line above allows
        return value
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not path.parent.is_file():
            raise FileNotFoundError(path) from None  # a folder above may be a file: no store can be there
        raise _unreadable(path, error) from None


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        repeated = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"'{repeated}' is there twice")


def _unreadable(path: Path, error: Exception, problem: str = "cannot be read") -> StoreError:
    reason = one_line(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        reason = ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), one_line(first["msg"]))))
    reason = one_line(reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}...")
    return StoreError(f"{path} {problem} ({reason}); delete {path.parent} to run it again")


class StageState(RecordPart):
    """State of a stage that is not finished; all defaults where it was never started.

    Attributes:
        status: None before the first attempt.
        attempts: starts since it was last finished.
        pid: process of the worker.
        started: start of the last attempt, in seconds since the epoch.
        reason: of a failure.
    """

    status: Literal["running", "failed"] | None = None
    attempts: int = 0
    pid: int | None = None
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
    curve = property(lambda self: self.path / "curve.jsonl")
    log = property(lambda self: self.path / "log.txt")
    checkpoint = property(lambda self: self.path / "checkpoint.pt")
    weights = property(lambda self: self.path / "weights.safetensors")
    outputs = property(lambda self: self.path / "outputs")

    def done(self) -> StageRecord | None:
        """The record of a finished stage, else None.

        Raises:
            StoreError: it is damaged, or contradicts itself.
        """
        try:
            record = _read_typed(self.record, STAGE_RECORD)
        except FileNotFoundError:
            return None
        if absent := record.absent():
            raise _unreadable(self.record, StoreError(f"{record.kind}.{absent[0]}: Field required"))
        if contradiction := find_contradiction(record):
            raise _unreadable(self.record, StoreError(contradiction), "contradicts itself")
        return record

    def read_spec(self) -> StageSpec:
        """The stage's spec.

        Raises:
            StoreError: it is absent or damaged.
        """
        try:
            return _read_typed(self.spec, STAGE_SPEC)
        except FileNotFoundError as error:
            raise _unreadable(self.spec, error) from None

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


class Store:
    """All stages of a folder, by kind and key."""

    def __init__(self, root: Path):
        self.root = root

    def check_format(self) -> None:
        """Refuses a store that another version of BenchBench wrote.

        Raises:
            StoreError: with what to do.
        """
        marker = self.root / "store.json"
        if not marker.exists():
            if self.root.is_file():
                raise StoreError(f"store {self.root} is a file; give a folder with --store")
            return
        try:
            content = json.loads(read_bytes(marker))
        except (ValueError, OSError, RecursionError) as error:
            raise StoreError(f"{marker} cannot be read ({one_line(error)}); use another --store DIR") from None
        version = content.get("format") if isinstance(content, dict) else None
        if version != FORMAT:
            older = isinstance(version, int) and version < FORMAT
            author = "an older" if older else "another"
            raise StoreError(
                f"store {self.root} was written by {author} BenchBench (format {version}; this one reads {FORMAT}); "
                "use another --store DIR and run the suite again, or go on with the version that wrote it"
            )

    def open(self) -> None:
        """Makes the store's folder, or checks an existing one."""
        self.check_format()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / "store.json").exists():
                write_json(self.root / "store.json", {"format": FORMAT})
        except OSError as error:
            raise StoreError(f"cannot write store {self.root} ({one_line(error)}); use another --store DIR") from None

    def stage(self, kind: str, key: str) -> StageFolder:
        return StageFolder(self.root / kind / key[:KEY_LENGTH])

    def finished(self, kind: str) -> list[StageFolder]:
        """Every finished stage of a kind."""
        return [StageFolder(path.parent) for path in sorted((self.root / kind).glob("*/record.json"))]

    def find_trained(self, text: str) -> StageFolder:
        """The finished training of a student, or of a teacher, whose key is this text or begins with it.

        Raises:
            StoreError: there is none, or several have that beginning; with the keys that may be meant.
        """
        text = text.strip().lower()
        finished = [folder for kind in ("teacher", "cell") for folder in self.finished(kind)]
        folders = [folder for folder in finished if text and folder.path.name.startswith(text[:KEY_LENGTH])]
        if len(text) > KEY_LENGTH:
            folders = [folder for folder in folders if (record := folder.done()) and record.key.startswith(text)]
        if len(folders) == 1:
            return folders[0]
        if folders:
            names = ", ".join(_name(folder) for folder in folders[:8])
            more = f" and {len(folders) - 8} more" if len(folders) > 8 else ""
            raise StoreError(f"{len(folders)} keys begin with '{text}': {names}{more}; give more of the key")
        raise self._no_training(text, finished)

    def _no_training(self, text: str, finished: Sequence[StageFolder]) -> StoreError:
        """The error for a key that no finished training has: one that has begun, or a hint at others."""
        begun = {path.parent for kind in ("teacher", "cell") for path in (self.root / kind).glob("*/spec.json")}
        begun -= {folder.path for folder in finished}
        if text and any(path.name.startswith(text[:KEY_LENGTH]) for path in begun):
            return StoreError(f"stage {text} of store {self.root} is not finished; run its suite to go on with it")
        hint = did_you_mean(text, {folder.path.name[: max(len(text), 8)] for folder in finished})
        return StoreError(f"no finished training in store {self.root} has a key that begins with '{text}'; {hint}")

    @contextlib.contextmanager
    def locked(self, wait: float = 10.0) -> Iterator[int]:
        """Locks the store for one run; gives the lock's file descriptor, which workers inherit.

        The lock lives until the last process with the descriptor has ended, so a new run cannot start beside workers
        that outlive a killed one.

        Args:
            wait: seconds to wait for another run's end.

        Raises:
            StoreError: another run has it.
        """
        try:
            lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise StoreError(f"cannot write store {self.root} ({one_line(error)}); use another --store DIR") from None
        with lock:
            deadline = time.monotonic() + wait
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"another benchbench run is using store {self.root}; wait for it, or use another --store"
                    )
                time.sleep(0.1)
            yield lock.fileno()

    def in_use(self) -> bool:
        """True while a run, or a worker that outlives one, has the store locked. Does not disturb it."""
        try:
            with (self.root / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # there has been no run
            return False
        return False


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name(folder: StageFolder) -> str:
    """The folder's name and the label in its record."""
    record = folder.done()
    return f"{folder.path.name} ({one_line(record.label if record else '')})"


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
