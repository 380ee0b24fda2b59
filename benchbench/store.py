"""Stage folders on disk: atomic writes, verified reads, one writer.

runs/store.json                     the store's format
runs/cell/1a2b3c.../spec.json       what the stage is: the resolved spec that its key is taken over
                    state.json      running or failed, attempts, reason
                    curve.jsonl     one line an epoch
                    log.txt         what the worker said
                    checkpoint.pt   while it runs
                    weights.safetensors   of a stage that trains
                    outputs/*.npy         of a stage that runs a frozen network over a data set
                    record.json     written last: the stage is done
runs/ledger/RUN.jsonl               what the time of each run went to; see `benchbench.costs.ledger`
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from benchbench.errors import StoreError, did_you_mean, one_line

FORMAT = 1
KEY_LENGTH = 16  # of a stage's key, as its folder is called


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or the next run after a kill, sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; a NaN is refused, since no JSON reader need take it."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        StoreError: the file is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({one_line(error)}); delete {path.parent} to run it again") from None


class StageFolder:
    """The files of one stage."""

    def __init__(self, path: Path):
        self.path = path

    # Made when they are asked for: a report looks at tens of thousands of folders, and at one file in each.
    spec = property(lambda self: self.path / "spec.json")
    state = property(lambda self: self.path / "state.json")
    record = property(lambda self: self.path / "record.json")
    curve = property(lambda self: self.path / "curve.jsonl")
    log = property(lambda self: self.path / "log.txt")
    checkpoint = property(lambda self: self.path / "checkpoint.pt")
    weights = property(lambda self: self.path / "weights.safetensors")
    outputs = property(lambda self: self.path / "outputs")

    def done(self) -> dict[str, Any] | None:
        """The record of a finished stage, else None."""
        path = self.record
        try:
            return from_json(path.read_bytes())  # a report reads tens of thousands; this takes half as long as json's
        except FileNotFoundError:
            return None
        except (ValueError, OSError):
            return read_json(path)  # which says what is wrong

    def read_curve(self) -> list[dict[str, Any]]:
        """The epochs of a finished training; none where there is no curve, or none that can be read."""
        try:
            rows = from_json(b"[%s]" % self.curve.read_bytes().strip().replace(b"\n", b","))
        except (OSError, ValueError):
            return []
        return [row for row in rows if isinstance(row, dict)]

    def read_state(self) -> dict[str, Any]:
        try:
            state = read_json(self.state) if self.state.exists() else {}
        except StoreError:  # it only explains; the record and the checkpoint decide
            return {}
        return state if isinstance(state, dict) else {}

    def attempts(self) -> int:
        """How often the stage has been started since it was last finished."""
        count = self.read_state().get("attempts")
        return count if isinstance(count, int) else 0

    def verified_weights(self) -> Path:
        """The weights of a finished stage.

        Raises:
            StoreError: they are absent or not what the record says.
        """
        record = self.done()
        expected = record["weights_sha256"] if record else None
        if expected is None or not self.weights.exists() or file_sha256(self.weights) != expected:
            raise StoreError(f"{self.weights} is missing or damaged; delete {self.path} to train it again")
        return self.weights

    def verified_outputs(self) -> tuple[dict[str, Any], dict[str, Path]]:
        """The record of a finished stage that keeps a network's outputs, and their files by name.

        Raises:
            StoreError: one is absent or not what the record says.
        """
        record = self.done()
        hashes = record["outputs"]["sha256"] if record else {}
        files = {name: self.outputs / f"{name}.npy" for name in hashes}
        for name, file in files.items():
            if not file.exists() or file_sha256(file) != hashes[name]:
                raise StoreError(f"{file} is missing or damaged; delete {self.path} to compute it again")
        if record is None:
            raise StoreError(f"{self.path} holds no finished stage; run the suite again")
        return record, files


class Store:
    """All stages that have ever run here, by kind and key."""

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
            found = json.loads(marker.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise StoreError(f"{marker} cannot be read ({one_line(error)}); use another --store DIR") from None
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise StoreError(
                f"store {self.root} has format {version}, this BenchBench reads {FORMAT}; use another --store DIR, "
                "or the version that wrote it"
            )

    def open(self) -> None:
        """Makes the store's folder, or checks the one that is there."""
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
        folders = [folder for kind in ("teacher", "cell") for folder in self.finished(kind)]
        found = [folder for folder in folders if text and folder.path.name.startswith(text[:KEY_LENGTH])]
        if len(text) > KEY_LENGTH:
            found = [folder for folder in found if str(read_json(folder.record).get("key")).startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            shown = [f"{each.path.name} ({one_line(str(read_json(each.record).get('label')))})" for each in found[:8]]
            more = f" and {len(found) - 8} more" if len(found) > 8 else ""
            raise StoreError(f"{len(found)} keys begin with '{text}': {', '.join(shown)}{more}; give more of the key")
        begun = {path.parent for kind in ("teacher", "cell") for path in (self.root / kind).glob("*/spec.json")}
        begun -= {folder.path for folder in folders}
        if text and any(path.name.startswith(text[:KEY_LENGTH]) for path in begun):
            raise StoreError(f"stage {text} of store {self.root} is not finished; run its suite to go on with it")
        hint = did_you_mean(text, {folder.path.name[: max(len(text), 8)] for folder in folders})
        raise StoreError(f"no finished training in store {self.root} has a key that begins with '{text}'; {hint}")

    @contextlib.contextmanager
    def locked(self, wait: float = 10.0) -> Iterator[int]:
        """Holds the store for one run; gives the lock's file descriptor, which workers inherit.

        The lock lives until the last process that holds the descriptor is gone, so a new run cannot start beside
        workers that outlive a killed one.

        Raises:
            StoreError: another run has it.
        """
        try:
            lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise StoreError(f"cannot write store {self.root} ({one_line(error)}); use another --store DIR") from None
        with lock:
            deadline = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreError(
                            f"another benchbench run is using store {self.root}; wait for it, or use another --store"
                        ) from None
                    time.sleep(0.1)
            yield lock.fileno()

    def in_use(self) -> bool:
        """Whether a run, or a worker that outlives one, holds the store. Takes nothing away from it."""
        try:
            with (self.root / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # there has been no run
            return False
        return False


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
