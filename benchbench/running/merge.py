"""Merging of stores from several machines: finished stages alone, verified, none ever replaced by another result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.costs.ledger_lines import FOLDER
from benchbench.errors import StoreError, one_line
from benchbench.planning.keys import key_of
from benchbench.specs.records import StageRecord
from benchbench.store import KEY_LENGTH, StageFolder, Store, write_atomic

# Files of a finished stage's folder that are about its run and not its result.
LEFT_BEHIND = ("state.json", "checkpoint.pt", "checkpoint.damaged")
UNFINISHED = ".merging"  # folder, beside the kinds of stages, that a stage is copied into before it gets its name


@dataclass
class Merged:
    """Stages of one source, by outcome; each named "KIND/KEY".

    Attributes:
        store: the source.
        copied: stages that are new in the target.
        same: stages that it had, with the same record.
        conflicts: stages that it had with another record, which it keeps; with the parts of the record that differ.
        damaged: stages that differ from their record; with the reason.
        unfinished: stages without a record.
    """

    store: Path
    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def merge_stores(sources: Sequence[Path], into: Path) -> Iterator[Merged]:
    """Joins stores into one, source by source; a merge that was killed goes on when it is called again.

    Args:
        sources: stores; they are only read, and may be in use.
        into: the target; made where there is none.

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
            _copy_stage(folder, target, kind, merged)
        except StoreError as error:
            merged.damaged[name] = one_line(error)
    _copy_ledgers(source, target)
    return merged


def _copy_ledgers(source: Store, target: Store) -> None:
    """Copies the ledgers of runs, whose names no two runs share; one that has grown since is copied again."""
    for file in sorted((source.root / FOLDER).glob("*.jsonl")):
        copy = target.root / FOLDER / file.name
        if file.is_symlink() or (copy.exists() and copy.stat().st_size >= file.stat().st_size):
            continue
        copy.parent.mkdir(exist_ok=True)
        write_atomic(copy, file.read_bytes())


def _copy_stage(folder: StageFolder, target: Store, kind: str, merged: Merged) -> None:
    """Copies one finished stage, unless the target has it.

    Raises:
        StoreError: it is damaged, in the source or in the target.
    """
    record = _verified_record(folder, kind)
    name, path = f"{kind}/{folder.path.name}", target.root / kind / folder.path.name
    present = StageFolder(path).done()
    if present is not None:
        differing = _differences(present, record)
        if differing:
            merged.conflicts[name] = differing
        else:
            merged.same.append(name)
        return
    copy = target.root / UNFINISHED
    shutil.rmtree(copy, ignore_errors=True)  # left by a merge that was killed
    copy.mkdir()
    try:
        _copy_files(folder.path, copy)
        if record.weights_sha256 is not None:
            StageFolder(copy).verified_weights()  # the copy's, since it will be used
    except StoreError:
        shutil.rmtree(copy)
        raise StoreError(f"the weights in {folder.path} are missing or are not those of its record") from None
    if path.exists():  # begun in the target and never finished
        shutil.rmtree(path)
    path.parent.mkdir(exist_ok=True)
    copy.rename(path)
    merged.copied.append(name)


def _differences(one: StageRecord, other: StageRecord) -> list[str]:
    """Names of the parts that differ between two records."""
    names = sorted(type(one).model_fields.keys() | type(other).model_fields.keys())
    return [name for name in names if getattr(one, name, None) != getattr(other, name, None)]


def _verified_record(folder: StageFolder, kind: str) -> StageRecord:
    """The record of a finished stage whose folder, spec and record have one key: that of the spec.

    Raises:
        StoreError: they do not.
    """
    spec, record = folder.read_spec(), folder.done()
    if record is None:
        raise StoreError(f"{folder.path} has no record")
    key = key_of(spec)
    if (spec.kind, record.kind, record.key, folder.path.name) != (kind, kind, key, key[:KEY_LENGTH]):
        raise StoreError(f"{folder.path} is not the stage {key[:KEY_LENGTH]} that its spec.json describes")
    return record


def _copy_files(source: Path, copy: Path) -> None:
    """Copies regular files alone, each flushed to the disk before the folder gets its name."""
    for file in sorted(source.iterdir()):
        if file.name.startswith(".") or file.name in LEFT_BEHIND or file.is_symlink() or not file.is_file():
            continue
        with file.open("rb") as original, (copy / file.name).open("wb") as duplicate:
            shutil.copyfileobj(original, duplicate)
            duplicate.flush()
            os.fsync(duplicate.fileno())
