"""Removal of what a store no longer needs, beside runs on it.

A stage is claimed before it is removed, so that none goes that a process is at work on. A run reads finished stages
without a claim on them: while one is at work on the store, finished stages and cached outputs stay. A stage is moved
aside first, then it is looked whether a run has begun meanwhile, and only then is it deleted; a run on its part looks
at the stages that it needs once it has made itself known.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.costs.ledger import new_run
from benchbench.errors import StoreError, did_you_mean, one_line
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.specs.parts import file_paths
from benchbench.store import KEY_LENGTH, Claim, Claims, Store
from benchbench.store.claims import OLD
from benchbench.store.inventory import StoredStage, kind_folders, stages_at, stages_of

REMOVED = ".removed-"  # folders that a stage is moved into before it is deleted
INCOMING = ".sync-"  # folders that a stage is downloaded into before it is merged
# Measurements of a device, by which stores of several machines predict hours; small, and of keys that other machines
# do not know.
MEASUREMENTS = ("tuning", "calibration")
OUTPUTS = "outputs"
# Files of an unfinished stage that nothing can go on from.
OF_NO_USE = ("spec.json", "state.json", "progress.json", "checkpoint.damaged")


@dataclass(frozen=True)
class Limits:
    """Limits of what is kept.

    Attributes:
        older_than: seconds without a change after which checkpoints and cached outputs go, and before which stages that
            no suite names stay; None for no such limit.
        max_bytes: of the whole store, to which cached outputs are removed, the oldest first; None for no limit.
    """

    older_than: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Removal:
    """Something to remove.

    Attributes:
        stage: that it is, or is a part of.
        reason: in a few words.
        names: of files and folders in the stage's folder; none for all of it.
    """

    stage: StoredStage
    reason: str
    names: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(self.stage.sizes[name] for name in self.names) if self.names else self.stage.bytes

    @property
    def may_be_read(self) -> bool:
        """True where a run may read it without a claim on it."""
        return self.stage.status == "done" and (not self.names or OUTPUTS in self.names)


def garbage(
    stages: Sequence[StoredStage], named: Collection[str] | None, limits: Limits, beside: int = 0
) -> list[Removal]:
    """Parts of a store that are of no use any more; none that a process is at work on.

    Args:
        stages: of the store.
        named: names of the stages that some suites need; None where no suite is given, and all count as needed.
        limits: to age and size.
        beside: bytes of the store that are no stages.
    """
    now, removals = time.time(), list[Removal]()
    for stage in stages:
        old = limits.older_than is not None and now - stage.changed > limits.older_than
        removal = _of_stage(stage, named, limits, old)
        removals += [removal] if removal is not None else []
    if limits.max_bytes is not None:
        removals += _beyond(stages, removals, limits.max_bytes - beside)
    return removals


def _of_stage(stage: StoredStage, named: Collection[str] | None, limits: Limits, old: bool) -> Removal | None:
    """Parts of one stage that are of no use, its size aside."""
    if stage.status == "running":
        return None
    unnamed = named is not None and stage.name not in named and stage.kind not in MEASUREMENTS
    if unnamed and (old or limits.older_than is None):
        return Removal(stage, "no suite names it")
    if stage.status in ("failed", "stopped"):
        if not (_can_go_on(stage)):
            return Removal(stage, f"{stage.status}, with nothing to go on from")
        return Removal(stage, f"{stage.status}, with an old checkpoint") if old else None
    if stage.status == "done" and old and stage.sizes.get(OUTPUTS) and stage.kind == OUTPUTS:
        return Removal(stage, "old cached outputs", (OUTPUTS, *stage.leftovers))
    return Removal(stage, "left over from its run", tuple(stage.leftovers)) if stage.leftovers else None


def _can_go_on(stage: StoredStage) -> bool:
    """True where a stage that is not finished has more than its description and its log."""
    return any(
        size and name not in OF_NO_USE and not name.startswith("log") and not name.endswith(".tmp")
        for name, size in stage.sizes.items()
    )


def _beyond(stages: Sequence[StoredStage], removals: Sequence[Removal], most: int) -> Iterator[Removal]:
    """Cached outputs that are too much for a size, the oldest first."""
    size = sum(stage.bytes for stage in stages) - sum(removal.bytes for removal in removals)
    taken = {removal.stage.name for removal in removals if not removal.names or OUTPUTS in removal.names}
    for stage in sorted(stages, key=lambda stage: stage.changed):
        if size <= most:
            return
        cached = stage.sizes.get(OUTPUTS, 0) if stage.kind == OUTPUTS and stage.status == "done" else 0
        if cached and stage.name not in taken:
            size -= cached
            yield Removal(stage, "cached outputs beyond --max-size", (OUTPUTS,))


def chosen(stages: Sequence[StoredStage], keys: Sequence[str]) -> list[Removal]:
    """Stages by their keys, or the beginnings of them; with the kind before it or not: "1a2b", "cell/1a2b".

    Raises:
        StoreError: there is none, or several have that beginning, or a process is at work on it.
    """
    removals: dict[str, Removal] = {}
    for text in keys:
        kind, _, key = text.strip().lower().rpartition("/")
        fitting = (
            [each for each in stages if each.key.startswith(key[:KEY_LENGTH]) and kind in ("", each.kind)]
            if key
            else []
        )
        if len(fitting) > 1:
            names = ", ".join(each.name for each in fitting[:8])
            raise StoreError(f"{len(fitting)} stages have a key that begins with '{text}': {names}; give more of it")
        if not fitting:
            known = {each.key[: max(len(key), 8)] for each in stages if kind in ("", each.kind)}
            raise StoreError(f"no stage has a key that begins with '{text}'; {did_you_mean(key, known)}")
        if fitting[0].holder:
            raise StoreError(f"{fitting[0].holder} is at work on {fitting[0].name}; end that first")
        removals[fitting[0].name] = Removal(fitting[0], "chosen")
    return list(removals.values())


def users_of(stages: Sequence[StoredStage], removals: Sequence[Removal]) -> list[str]:
    """Names of the stages that were made from removed ones, and stay."""
    removed, kinds = {removal.stage.key for removal in removals}, kind_folders(stages)
    return [stage.name for stage in stages if stage.key not in removed and _needs(stage, kinds) & removed]


def _needs(stage: StoredStage, kinds: Mapping[str, str]) -> set[str]:
    """Keys of the stages that one was made from, or began with the files of, as far as its spec can be read."""
    try:
        spec = stage.folder.read_spec()
    except StoreError:
        return set()
    files = {name.rpartition("/")[2] for name in stages_at(kinds, file_paths(spec.as_json()))}
    return files | {key[:KEY_LENGTH] for key in spec.needs.values()}


def remove(store: Store, removals: Sequence[Removal]) -> Iterator[tuple[Removal, str]]:
    """Removes what can be, and gives with each the reason for which it had to stay; empty where it is gone.

    Raises:
        StoreError: the store cannot be written.
    """
    with contextlib.closing(ClaimKeeper(store, new_run(), slots=0)) as keeper:
        for removal in removals:
            try:
                yield removal, _remove(store, removal, keeper)
            except (StoreError, OSError) as error:
                yield removal, one_line(error)
    remove_leftovers(store)


def _remove(store: Store, removal: Removal, keeper: ClaimKeeper) -> str:
    stage = removal.stage
    if removal.may_be_read and (run := _other_run(keeper.claims)):
        return f"{run} is at work on the store, and may read it"
    claim = keeper.take(stage.kind, stage.key)
    if not isinstance(claim, Claim):
        return f"{claim} is at work on it"
    try:
        if _changed(stage):
            return "it has changed since it was looked at"
        return _move_out(removal, keeper.claims)
    finally:
        keeper.give_back(stage.key, finished=True)


def _changed(stage: StoredStage) -> bool:
    """True where files have come or gone since the store was looked at: a run has begun with it, or ended it."""
    folder = stage.folder.path
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return names != set(stage.sizes) or any(path.lstat().st_mtime > stage.changed for path in folder.iterdir())


def _move_out(removal: Removal, claims: Claims) -> str:
    """Deletes files by way of a folder of their own, out of which they come back where a run has begun meanwhile."""
    folder = removal.stage.folder.path
    paths = [folder / name for name in removal.names] or [folder]
    aside = folder.parent / f"{REMOVED}{secrets.token_hex(8)}"
    aside.mkdir()
    if OUTPUTS in removal.names:
        removal.stage.folder.outputs_removed.touch()
    for path in paths:
        path.rename(aside / path.name)
    run = _other_run(claims) if removal.may_be_read else ""
    if run:
        for path in paths:
            (aside / path.name).rename(path)
        aside.rmdir()
        return f"{run} is at work on the store, and may read it"
    shutil.rmtree(aside)
    return ""


def _other_run(claims: Claims) -> str:
    """A run that is at work on the store beside this process; empty for none."""
    return next(map(str, claims.other_runs(claims.names())), "")


def remove_leftovers(store: Store) -> None:
    """Removes what another removal has moved aside, or a sync has downloaded, that was killed."""
    for path in (*store.root.glob(f"*/{REMOVED}*"), *store.root.glob(f"{INCOMING}*")):
        with contextlib.suppress(OSError):
            # A large file is downloaded for long, without a change of the folders above it.
            changed = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
            if time.time() - changed > OLD:
                shutil.rmtree(path)


def store_of(root: Path) -> Store:
    """An existing store of this format.

    Raises:
        StoreError: there is none, or it is of another format.
    """
    store = Store(root)
    store.check_format()
    if not (root / "store.json").is_file():
        raise StoreError(f"{root} is no store: it has no store.json; give the folder of `--store`")
    return store


__all__ = [
    "INCOMING",
    "Limits",
    "Removal",
    "chosen",
    "garbage",
    "remove",
    "remove_leftovers",
    "stages_of",
    "store_of",
    "users_of",
]
