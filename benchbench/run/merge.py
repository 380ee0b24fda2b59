"""Stores from several machines become one: finished stages alone, verified, none ever replaced by another result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.costs.ledger import FOLDER
from benchbench.errors import StoreError, one_line
from benchbench.plan.keys import key_of
from benchbench.store import KEY_LENGTH, StageFolder, Store, read_json, write_atomic

# Of a finished stage's folder these say what a run was at, and nothing of what it found.
LEFT_BEHIND = ("state.json", "checkpoint.pt", "checkpoint.damaged")
UNFINISHED = ".merging"  # the folder, beside the kinds of stages, that a stage is copied into before it gets its name


@dataclass
class Merged:
    """What became of one store's stages; each by "KIND/KEY".

    Attributes:
        store: where they come from.
        copied: those that the target has now.
        same: those that it had, with the same record.
        conflicts: those that it had with another record, which it keeps; with the parts of the record that differ.
        damaged: those that are not what their record says; with the reason.
        unfinished: those that no record ends.
    """

    store: Path
    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def merge_stores(sources: Sequence[Path], into: Path) -> Iterator[Merged]:
    """Joins stores into one, source by source; what a kill has cut short goes on when it is called again.

    Args:
        sources: stores; they are only read, and may be in use.
        into: the store that takes them in, made where there is none.

    Raises:
        StoreError: a source is no store or of another format, the target is one of the sources, is in use or cannot be
            written; nothing is copied then.
    """
    stores = [Store(path) for path in sources]
    for store in stores:
        if not (store.root / "store.json").is_file():
            raise StoreError(f"{store.root} is no store: it has no store.json; give the folder of `--store`")
        store.check_format()
        if store.root.resolve() == into.resolve():
            raise StoreError(f"{store.root} is merged into itself; give another with --into")
    target = Store(into)
    target.open()
    with target.locked():
        for store in stores:
            yield _merge(store, target)


def _merge(source: Store, target: Store) -> Merged:
    merged = Merged(source.root)
    for path in sorted(source.root.glob("*/*/")):
        folder, kind = StageFolder(path), path.parent.name
        name = f"{kind}/{path.name}"
        if kind == UNFINISHED:
            continue
        if not folder.record.exists():
            merged.unfinished.append(name)
            continue
        try:
            _take(folder, target, kind, merged)
        except StoreError as error:
            merged.damaged[name] = one_line(error)
    _take_ledgers(source, target)
    return merged


def _take_ledgers(source: Store, target: Store) -> None:
    """The ledgers of its runs, whose names no two runs share; one that has grown since is taken again."""
    for file in sorted((source.root / FOLDER).glob("*.jsonl")):
        place = target.root / FOLDER / file.name
        if file.is_symlink() or (place.exists() and place.stat().st_size >= file.stat().st_size):
            continue
        place.parent.mkdir(exist_ok=True)
        write_atomic(place, file.read_bytes())


def _take(folder: StageFolder, target: Store, kind: str, merged: Merged) -> None:
    """Copies one finished stage, or says why not.

    Raises:
        StoreError: it is damaged, in the source or in the target.
    """
    record = _verified_record(folder, kind)
    name, place = f"{kind}/{folder.path.name}", target.root / kind / folder.path.name
    kept = StageFolder(place).done()
    if kept is not None:
        differing = [part for part in sorted(kept.keys() | record.keys()) if kept.get(part) != record.get(part)]
        if differing:
            merged.conflicts[name] = differing
        else:
            merged.same.append(name)
        return
    copy = target.root / UNFINISHED
    shutil.rmtree(copy, ignore_errors=True)  # what a merge that was killed has left
    copy.mkdir()
    try:
        _copy(folder.path, copy)
        if record.get("weights_sha256") is not None:
            StageFolder(copy).verified_weights()  # the copy's, since that is what will be used
    except StoreError:
        shutil.rmtree(copy)
        raise StoreError(f"the weights in {folder.path} are missing or are not those of its record") from None
    if place.exists():  # begun here and never finished
        shutil.rmtree(place)
    place.parent.mkdir(exist_ok=True)
    copy.rename(place)
    merged.copied.append(name)


def _verified_record(folder: StageFolder, kind: str) -> dict[str, Any]:
    """The record of a stage whose folder, spec and record have one key: that of the spec.

    Raises:
        StoreError: they do not.
    """
    record, spec = read_json(folder.record), read_json(folder.spec)
    try:
        key = key_of({"kind": spec["kind"], **spec["job"]})
        known = [spec["kind"] == kind, spec["key"] == key, record["key"] == key, folder.path.name == key[:KEY_LENGTH]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{folder.path} holds no stage of BenchBench ({one_line(error)})") from None
    if not all(known):
        raise StoreError(f"{folder.path} is not the stage {key[:KEY_LENGTH]} that its spec.json describes")
    return record


def _copy(source: Path, copy: Path) -> None:
    """Regular files alone, each safe on the disk before the folder gets its name."""
    for file in sorted(source.iterdir()):
        if file.name.startswith(".") or file.name in LEFT_BEHIND or file.is_symlink() or not file.is_file():
            continue
        with file.open("rb") as read, (copy / file.name).open("wb") as written:
            shutil.copyfileobj(read, written)
            written.flush()
            os.fsync(written.fileno())
