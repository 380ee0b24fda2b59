"""Hashes of files and folders by their bytes: other images are another data set, whatever their path."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchbench.store import file_sha256, write_json

ABSENT = "absent"


def content_hash(path: Path) -> str:
    """sha256 of a file, or of a folder's relative file names and their bytes (links followed).

    Reading a large folder takes time, so its hash is stored in the user's cache, and is valid for as long as every
    name, size, time of change and inode is unchanged.
    """
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        return ABSENT
    return files_hash(dict(_files(path)), str(path.resolve()))


def files_hash(files: Mapping[str, Path], place: str) -> str:
    """sha256 of some files' names and bytes.

    Args:
        files: by the name that counts, in a fixed order.
        place: names the files in the cache; see `content_hash`.

    Raises:
        OSError: one cannot be read.
    """
    listing = hashlib.sha256()
    for name, file in files.items():
        stat = file.stat()
        listing.update(_encoded(name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    cache = user_cache("content.json")
    entry = _read(cache).get(place)
    if isinstance(entry, dict) and entry.get("listing") == listing.hexdigest():
        return str(entry["content"])
    content = hashlib.sha256()
    for name, file in files.items():
        content.update(_encoded(name, file_sha256(file)))
    with contextlib.suppress(OSError):  # only a cache
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, {**_read(cache), place: {"listing": listing.hexdigest(), "content": content.hexdigest()}})
    return content.hexdigest()


def paths_hash(paths: Mapping[str, Path], place: str) -> str:
    """sha256 of the names and contents of files and folders; `ABSENT` where one is not there. See `files_hash`."""
    files: dict[str, Path] = {}
    for name, path in paths.items():
        files |= {f"{name}/{inside}": file for inside, file in _files(path)} if path.is_dir() else {name: path}
    return files_hash(files, place) if all(path.exists() for path in paths.values()) else ABSENT


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file by its relative name, in a fixed order. A link to a folder that it lies in is not followed."""
    above = {str(folder): {_identity(folder)}}
    for root, folders, names in os.walk(folder, followlinks=True):
        passed = above.pop(root)
        inside = {name: _identity(os.path.join(root, name)) for name in folders}
        folders[:] = sorted(name for name in folders if inside[name] not in passed)
        above |= {os.path.join(root, name): passed | {inside[name]} for name in folders}
        for name in sorted(names):
            file = Path(root, name)
            if file.is_file():
                yield file.relative_to(folder).as_posix(), file


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _encoded(*parts: object) -> bytes:
    return "".join(f"{part}\0" for part in parts).encode(errors="surrogateescape")


def user_cache(name: str) -> Path:
    """A file of the user's cache, for results that every store can use and that can be computed again at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "benchbench" / name


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container's user without a name or a HOME
        return Path(tempfile.gettempdir())


def _read(cache: Path) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(cache.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
