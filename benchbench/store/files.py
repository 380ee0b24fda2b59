"""Files that are written whole or not at all, and read with one line for what is wrong with them."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import secrets
from io import BufferedWriter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchbench.errors import StoreError, one_line

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
        raise unreadable(path, error) from None


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
