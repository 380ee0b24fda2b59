"""The folder of a report: it holds one report, and what else its owner puts there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from benchbench.components import Registry
from benchbench.errors import StoreError, one_line
from benchbench.planning.content_hash import user_cache
from benchbench.store import file_sha256, read_bytes, remove_leftovers, write_atomic, write_json

COMMAND = "COMMAND"
# Endings of tables and figures, and the other files of a report.
ENDINGS = ("md", "tex", "csv", "txt", "pdf", "png")
OTHERS = ("README.md", "results.csv", "tables.tex", "figures.tex", "figures.md", "macros.tex", "report.html")


def write_folder(folder: Path, files: Mapping[str, bytes], registry: Registry, beside: bool = False) -> list[Path]:
    """Writes the files of a report, and removes those of the report that was there before.

    Args:
        folder: made where it does not exist.
        files: content by name.
        registry: whose tables and figures a folder without a list of its files may have.
        beside: leaves the files that were there before.

    Returns:
        The paths of the files.

    Raises:
        StoreError: the folder cannot be written, or has a file of that name which is of no report.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _earlier(folder, registry)
        _require_own(folder, files, earlier)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        _remember(folder, earlier | hashes)  # a report that is killed half-way is removed as a whole
        for name in sorted(files, key=lambda name: name != COMMAND):  # first what shows that the others are of a report
            write_atomic(folder / name, files[name])
        if not beside:
            _remove(folder, {name: value for name, value in earlier.items() if name not in files})
            _remember(folder, hashes)
    except OSError as error:
        raise StoreError(f"cannot write the report to {folder} ({one_line(error)}); use another --report DIR") from None
    return [folder / name for name in files]


def require_free(folder: Path, formats: Collection[str], registry: Registry) -> None:
    """Refuses a folder with a file of its owner's that every report replaces, before hours of work.

    Raises:
        StoreError: there is one.
    """
    always = ("results.csv", *(["README.md"] if "md" in formats else []))
    _require_own(folder, always, _earlier(folder, registry))


def _require_own(folder: Path, names: Collection[str], earlier: Collection[str]) -> None:
    """No file is replaced that is not of the report before."""
    if (folder / COMMAND).is_file():
        return
    for name in names:
        if name not in earlier and (folder / name).exists():
            raise StoreError(f"{folder / name} is not of a report and would be replaced; use another --report DIR")


def _list_file(folder: Path) -> Path:
    """The list of a folder's files with their hashes, in the user's cache: the folder itself has no list."""
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return user_cache("reports") / f"{place}.json"


def _remember(folder: Path, hashes: Mapping[str, str]) -> None:
    file = _list_file(folder)
    with contextlib.suppress(OSError):  # without a list, files are known by their names
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, dict(hashes))


def _earlier(folder: Path, registry: Registry) -> dict[str, str]:
    """Files of the report in a folder, with their hashes as they were written."""
    try:
        content = json.loads(read_bytes(_list_file(folder)))
        return {name: str(value) for name, value in content.items() if Path(name).name == name not in ("", "..")}
    except (OSError, ValueError, AttributeError, RecursionError):
        return _by_name(folder, {*registry.offers["report"], *registry.offers["figure"]})


def _by_name(folder: Path, stems: Collection[str]) -> dict[str, str]:
    """Files of a report of which there is no list: another machine's, say, or another user's."""
    if not (folder / COMMAND).is_file():
        return {}
    names = [*OTHERS, COMMAND, *(f"{stem}.{ending}" for stem in stems for ending in ENDINGS)]
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def _remove(folder: Path, hashes: Mapping[str, str]) -> None:
    """Removes files, but those that were changed since; and what killed writers of them have left."""
    for name, expected in hashes.items():
        remove_leftovers(folder, name)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if file_sha256(folder / name) == expected:
                (folder / name).unlink()
