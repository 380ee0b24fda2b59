"""Files that are written whole or not at all, and read with one line for what is wrong with them."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchbench.errors import StoreError, one_line
from benchbench.store.fencing import fence_of
from benchbench.store.processes import birth, this_process

LARGEST = 64 * 2**20  # bytes of a file of JSON
LONGEST_REASON = 300  # characters
OLD = 86400.0  # seconds after which nobody still writes a temporary file
_WRITER = re.compile(r"-(?P<pid>\d+)-\d+-(?P<machine>[0-9a-f]{8})[0-9a-f]{8}\.tmp$")


def write_atomic(path: Path, data: bytes, durable: bool = True) -> None:
    """Writes a file so that a reader, or the run after a kill, sees the old content or the new, never a part.

    Each writer has a temporary file of its own, so that several do not disturb one another. Those of writers that were
    killed are removed by the next one.

    Args:
        path: of the file.
        data: its content.
        durable: whether it outlives a crash of the machine, which is waited for.

    Raises:
        ClaimLostError: it belongs to a stage that another process has taken over; nothing is written then.
    """
    claim = fence_of(path)
    remove_leftovers(path.parent, path.name)
    temporary = temporary_path(path, claim.number if claim else 0)
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        if claim is not None:
            claim.require()
        _rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _rename(temporary: Path, path: Path) -> None:
    """Puts a file in its place, whatever was there."""
    number = temporary.stat().st_ino
    try:
        temporary.replace(path)
    except FileNotFoundError:
        # NFS sends a request again whose answer was lost, and the second one finds nothing to rename.
        with contextlib.suppress(OSError):
            if path.stat().st_ino == number:
                return
        raise


def temporary_path(path: Path, number: int = 0) -> Path:
    """A new file beside another, named by its writer: host, process and number of the claim."""
    here = this_process()
    return path.with_name(f".{path.name}.{here.host}-{here.pid}-{number}-{here.machine}{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Removes temporary files of writers that were killed: those of one file, or of a folder and all below it."""
    pattern = f".{glob.escape(name)}*.tmp"
    for path in folder.glob(pattern) if name else folder.rglob(pattern):
        with contextlib.suppress(OSError):
            if _is_leftover(path):
                path.unlink()


def _is_leftover(path: Path) -> bool:
    """True where a temporary file's writer has ended; of one on another machine, whether it was written long ago."""
    writer = _WRITER.search(path.name)
    if writer is not None and writer["machine"] == this_process().machine:
        return not birth(int(writer["pid"]))
    return time.time() - path.stat().st_mtime > OLD


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; a NaN is refused, since no JSON reader need take it."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode())


def read_bytes(path: Path) -> bytes:
    """The content of a file of JSON; a ValueError, and nothing read, where it is larger than any of ours."""
    with path.open("rb") as stream:
        if (size := os.fstat(stream.fileno()).st_size) > LARGEST:
            raise ValueError(f"it has {size:,} bytes, and at most {LARGEST:,} are read")
        return stream.read(LARGEST)


T = TypeVar("T")


def read_typed(path: Path, adapter: TypeAdapter[T]) -> T:
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
        raise unreadable(path, error) from None


def _require_unique(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        repeated = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"'{repeated}' is there twice")


def unreadable(path: Path, error: Exception, problem: str = "cannot be read") -> StoreError:
    reason = one_line(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        reason = ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), one_line(first["msg"]))))
    reason = one_line(reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}...")
    return StoreError(f"{path} {problem} ({reason}); delete {path.parent} to run it again")


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
