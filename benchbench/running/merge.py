"""Merging of stores from several machines: finished and whole stages alone, none ever replaced by another result.

Every copied file has the hash of its source. Weights, cached outputs and generated images are compared
with the hashes in the record as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchbench.costs.ledger import new_run
from benchbench.costs.ledger_lines import FOLDER
from benchbench.errors import DataError, StoreError, one_line
from benchbench.planning.keys import key_of
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.specs.records import DiffusionRecord, OutputsRecord, StageRecord, SynthesisRecord
from benchbench.store import KEY_LENGTH, Claim, StageFolder, Store, file_sha256, write_atomic
from benchbench.store.claims import FOLDER as FOLDER_OF_CLAIMS

# Files of a finished stage's folder that are about its run and not its result.
LEFT_BEHIND = ("state.json", "checkpoint.pt", "checkpoint.damaged")
WEIGHTS = Path("weights.safetensors")
GENERATOR_WEIGHTS = Path("pipeline", "unet", "diffusion_pytorch_model.safetensors")
MERGE = "merge", "store"  # kind and key of the claim that a merge has on the target
UNFINISHED = ".merging"  # folder, beside the stages of a kind, that one is copied into before it gets its place
# What a disk answers that takes nothing more: no fault of the stage that is copied, and the next ones fare no better.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass
class Merged:
    """Stages of one source, by outcome; each named "KIND/KEY".

    Attributes:
        store: the source: a folder, or a URL.
        copied: stages that are new in the target, or of which it had a part alone.
        same: stages that it had, with the same record and all files.
        conflicts: stages that it had with another record, which it keeps; with the parts of the record that differ.
        damaged: stages that differ from their record, or cannot be read, and ledgers that cannot; with the reason.
        unfinished: stages without a record.
        held: stages that a run is at work on in the target, and who does that; they are left to it.
    """

    store: Path | str
    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)


def merge_stores(sources: Sequence[Path], into: Path) -> Iterator[Merged]:
    """Joins stores into one, source by source; a merge that was killed goes on when it is called again.

    Args:
        sources: stores; they are only read, and may be in use.
        into: the target; made where there is none.

    Raises:
        StoreError: a source is no store or of another format, the target is one of the sources, is merged into by
            another process, or cannot be written; nothing is copied then.
        OSError: the target's disk takes nothing more.
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
    with merging_into(target) as keeper:
        for store in stores:
            merged = Merged(store.root)
            merge_store(store, target, keeper, merged)
            yield merged


@contextlib.contextmanager
def merging_into(target: Store) -> Iterator[ClaimKeeper]:
    """The claims of a merge into a store; there is one at a time.

    Raises:
        StoreError: another process is merging into it, or it cannot be written.
    """
    with contextlib.closing(ClaimKeeper(target, new_run(), slots=0)) as keeper:
        held = keeper.take(*MERGE)
        if not isinstance(held, Claim):
            raise StoreError(f"{held} is merging into store {target.root}; wait for it")
        yield keeper


def merge_store(source: Store, target: Store, keeper: ClaimKeeper, merged: Merged) -> None:
    """Copies what one source has, and adds the outcome to `merged`.

    Raises:
        OSError: the target's disk takes nothing more.
    """
    for path in sorted(source.root.glob("*/*/")):
        kind = path.parent.name
        if kind == FOLDER_OF_CLAIMS or kind.startswith(".") or path.name.startswith("."):
            continue
        with _damage_of(f"{kind}/{path.name}", merged):
            _merge_stage(StageFolder(path), target, keeper, merged)
    for file in sorted((source.root / FOLDER).glob("*.jsonl")):
        with _damage_of(f"{FOLDER}/{file.name}", merged):
            _copy_ledger(file, target)


@contextlib.contextmanager
def _damage_of(name: str, merged: Merged) -> Iterator[None]:
    """Names what is damaged or cannot be read, so that the others are copied all the same."""
    try:
        yield
    except (StoreError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        merged.damaged[name] = one_line(error)


def _merge_stage(folder: StageFolder, target: Store, keeper: ClaimKeeper, merged: Merged) -> None:
    kind, key = folder.path.parts[-2:]
    if not folder.record.exists():
        merged.unfinished.append(f"{kind}/{key}")
        return
    claim = keeper.take(kind, key)
    if not isinstance(claim, Claim):
        merged.held[f"{kind}/{key}"] = str(claim)
        return
    try:
        _copy_stage(folder, target, kind, merged)
    finally:
        keeper.give_back(key, finished=True)


def _copy_ledger(file: Path, target: Store) -> None:
    """Copies the ledger of a run, whose name no other run has; one that has grown since is copied again."""
    copy = target.root / FOLDER / file.name
    is_ledger = file.is_file() and not file.is_symlink()
    if not is_ledger or (copy.is_file() and copy.stat().st_size >= file.stat().st_size):
        return
    copy.parent.mkdir(exist_ok=True)
    write_atomic(copy, file.read_bytes())


def _copy_stage(folder: StageFolder, target: Store, kind: str, merged: Merged) -> None:
    """Copies one finished stage, unless the target has it.

    Raises:
        StoreError: it is damaged, in the source or in the target.
        OSError: a file cannot be read, or not be written.
    """
    record = verified_record(folder, kind)
    name, path = f"{kind}/{folder.path.name}", target.root / kind / folder.path.name
    present = StageFolder(path).done()
    if present is not None:
        if differing := differences(present, record):
            merged.conflicts[name] = differing
            return
        if _is_whole(path, folder.path, record):
            merged.same.append(name)
            return
    aside = path.parent / UNFINISHED  # a kind's folder may be on a disk of its own
    shutil.rmtree(aside, ignore_errors=True)  # left by a merge that was killed
    copy = aside / path.name
    copy.mkdir(parents=True)
    try:
        for file in stage_files(folder.path, record):
            _copy_file(folder.path / file, copy / file)
        verify_files(folder.path, copy, record)  # the copy, since it will be used
        if path.exists():  # begun in the target and never finished, or copied in part
            shutil.rmtree(path)
        copy.rename(path)
    finally:
        shutil.rmtree(aside)
    merged.copied.append(name)


def differences(one: StageRecord, other: StageRecord) -> list[str]:
    """Names of the parts that differ between two records."""
    names = sorted(type(one).model_fields.keys() | type(other).model_fields.keys())
    return [name for name in names if getattr(one, name, None) != getattr(other, name, None)]


def verified_record(folder: StageFolder, kind: str) -> StageRecord:
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


def _hashes(record: StageRecord, folder: Path) -> dict[Path, str]:
    """Files of a stage's folder that its record names, with hashes; not cached outputs that `store gc` removed."""
    hashes = {}
    if record.weights_sha256 is not None:
        file = GENERATOR_WEIGHTS if isinstance(record, DiffusionRecord) else WEIGHTS
        hashes[file] = record.weights_sha256
    if isinstance(record, OutputsRecord) and not StageFolder(folder).has_dropped_outputs():
        hashes |= {Path("outputs", f"{name}.npy"): each for name, each in record.outputs.sha256.items()}
    return hashes


def stage_files(folder: Path, record: StageRecord) -> list[Path]:
    """The files of a stage to copy, in its folder and below.

    A link is followed where the record says what lies behind it; others may lead anywhere, and are left out.
    """
    named = _hashes(record, folder)
    files = {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name not in LEFT_BEHIND
    }
    visible = {file for file in files if not any(part.startswith(".") for part in file.parts)}
    return sorted(visible | {file for file in named if (folder / file).is_file()})


def _is_whole(folder: Path, source: Path, record: StageRecord) -> bool:
    """True where a stage has all the files of another with the same record, of the same sizes."""
    sizes = {file: (source / file).stat().st_size for file in stage_files(source, record) if file != Path("log.txt")}
    return all((folder / file).is_file() and (folder / file).stat().st_size == size for file, size in sizes.items())


def _copy_file(source: Path, copy: Path) -> None:
    """Copies a file, flushed to the disk before its folder gets its name, and compares the two.

    Raises:
        StoreError: another content was written than read.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as original, copy.open("wb") as duplicate:
        shutil.copyfileobj(original, duplicate)
        duplicate.flush()
        os.fsync(duplicate.fileno())
    if file_sha256(copy) != file_sha256(source):
        raise StoreError(f"the copy of {source} has another content; look at the disk")


def verify_files(source: Path, copy: Path, record: StageRecord) -> None:
    """Compares a copied stage with its record.

    Raises:
        StoreError: a file is missing or has another hash; with its place in the source.
    """
    for file, expected in _hashes(record, copy).items():
        if not (copy / file).is_file() or file_sha256(copy / file) != expected:
            what = "the weights in" if file in (WEIGHTS, GENERATOR_WEIGHTS) else f"{file} of"
            raise StoreError(f"{what} {source} are missing or are not those of its record")
    if isinstance(record, SynthesisRecord):
        from benchbench.synthesis.shards import fingerprint, read_shards  # pyarrow, for those that have such stages

        try:
            images = fingerprint(read_shards(StageFolder(copy)))
        except DataError:
            images = ""
        if images != record.data.sha256:
            raise StoreError(f"the shards in {source} are missing or are not those of its record")
