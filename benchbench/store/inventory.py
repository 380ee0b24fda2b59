"""Inventory of a store: its stages with their state, size and age, and the files beside them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchbench.errors import StoreError, one_line
from benchbench.specs.stages import STAGE_KINDS
from benchbench.store.claims import FOLDER as CLAIMS
from benchbench.store.claims import Held
from benchbench.store.stage_folder import StageFolder
from benchbench.store.store import KEY_LENGTH, LOGS, Store

LEDGER = "ledger"
BESIDE = (CLAIMS, LEDGER, LOGS)  # folders of a store that are no kinds of stages
# Files that only an unfinished stage needs; in the folder of a finished one they are leftovers.
UNFINISHED_FILES = ("checkpoint.pt", "checkpoint.damaged", "state.json", "progress.json", "record.earlier.json")

IS_KEY = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}")

Status = Literal["done", "failed", "stopped", "running", "damaged"]


@dataclass(frozen=True)
class StoredStage:
    """One stage of a store.

    Attributes:
        kind: of the stage.
        key: as its folder is called.
        folder: of its files.
        status: "stopped" is one that was begun, has not ended, and is not at work; "damaged" one whose record cannot be
            read.
        label: of its record; empty before it is finished.
        sizes: bytes by file or folder directly in its folder.
        changed: time of its latest change, in seconds since the epoch.
        holder: who is at work on it; empty for nobody.
    """

    kind: str
    key: str
    folder: StageFolder
    status: Status
    label: str
    sizes: Mapping[str, int]
    changed: float
    holder: str = ""

    @property
    def name(self) -> str:
        """KIND/KEY."""
        return f"{self.kind}/{self.key}"

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    @property
    def leftovers(self) -> list[str]:
        """Files in the folder of a finished stage that it needs no more."""
        names = [name for name in self.sizes if name in UNFINISHED_FILES or name.endswith(".tmp")]
        return names if self.status == "done" else []


def stages_of(store: Store) -> list[StoredStage]:
    """Every stage of a store, by kind and key; it is only read, and may be in use.

    Other folders there are their owner's, not stages. A kind's folder may lie behind a link, on another disk.
    """
    claims = store.live_claims()
    kinds = sorted(path for path in _folders(store.root, linked=True) if path.name in STAGE_KINDS)
    folders = [(kind, path) for kind in kinds for path in sorted(_folders(kind)) if IS_KEY.fullmatch(path.name)]
    stages = (_stage(kind, path, claims) for kind, path in folders)
    return [stage for stage in stages if stage is not None]


def kind_folders(stages: Iterable[StoredStage]) -> dict[str, str]:
    """The kinds of stages, by the real paths of their folders."""
    folders = {stage.folder.path.parent for stage in stages}
    return {os.path.realpath(folder): folder.name for folder in folders}


def stages_at(kinds: Mapping[str, str], paths: Iterable[str]) -> set[str]:
    """Names of the stages, KIND/KEY, that paths lead to or into, by links too.

    Args:
        kinds: as `kind_folders` gives them.
        paths: of files and folders, wherever they are.
    """
    places = {Path(place) for path in paths for place in (os.path.abspath(path), os.path.realpath(path))}
    folders = {folder for place in places for folder in (place, *place.parents)}
    kinds_above = ((folder, kinds.get(os.path.realpath(folder.parent))) for folder in folders)
    return {f"{kind}/{folder.name}" for folder, kind in kinds_above if kind is not None}


def sizes_beside(store: Store) -> dict[str, int]:
    """Bytes of the folders of a store that hold no stages, by name."""
    return {name: _size(store.root / name) for name in BESIDE if (store.root / name).is_dir()}


def _folders(folder: Path, linked: bool = False) -> Iterator[Path]:
    """Folders in a folder; with those behind links where that is asked for."""
    try:
        with os.scandir(folder) as entries:
            yield from [Path(each) for each in entries if each.is_dir(follow_symlinks=linked) and each.name[0] != "."]
    except FileNotFoundError:
        return


def _stage(kind: Path, path: Path, claims: Mapping[str, Held]) -> StoredStage | None:
    """A stage; None where it was removed meanwhile."""
    folder = StageFolder(path)
    held = claims.get(f"{kind.name}-{path.name}")
    status, label = _status(folder, held is not None)
    sizes = dict[str, int]()
    try:
        changed, entries = path.stat().st_mtime, sorted(path.iterdir())
    except FileNotFoundError:
        return None
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # a temporary file, whose writer is at work
            changed = max(changed, entry.lstat().st_mtime)
            sizes[entry.name] = _size(entry)
    return StoredStage(kind.name, path.name, folder, status, label, sizes, changed, str(held) if held else "")


def _status(folder: StageFolder, is_held: bool) -> tuple[Status, str]:
    """State and label of a stage; of one that cannot be read the reason."""
    if is_held:
        return "running", ""
    try:
        record = folder.done()
    except StoreError as error:
        return "damaged", one_line(error)
    if record is not None:
        return "done", record.label
    return ("failed" if folder.read_state().status == "failed" else "stopped"), ""


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; those that go meanwhile count nothing."""
    if path.is_symlink() or not path.is_dir():
        return _file_size(path)
    return sum(_file_size(Path(parent, name)) for parent, _, names in os.walk(path) for name in names)


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
