"""Copies of finished stages at a URL: object stores and other machines, as far as fsspec reaches.

A store at a URL has the layout of one on disk, and `files.json` in each stage: the size and the hash of every file. A
stage is there once its record is, which is written last. Only finished stages travel, and none is ever replaced.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from benchbench.errors import StoreError, one_line
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.running.cleaning import INCOMING, remove_leftovers
from benchbench.running.merge import (
    NO_ROOM,
    Merged,
    differences,
    merge_store,
    merging_into,
    stage_files,
    verified_record,
    verify_files,
)
from benchbench.specs.records import STAGE_RECORD, StageRecord
from benchbench.store import FORMAT, StageFolder, Store, file_sha256

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MANIFEST = "files.json"
CHUNK = 2**20  # bytes
BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs"}  # protocols without folders, where making one makes a bucket
HINTS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "ssh": "paramiko", "sftp": "paramiko"}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    bytes: int
    sha256: str


class _Manifest(RootModel[dict[str, _File]]):
    """Files of a stage at a URL, by their path in its folder."""


@dataclass(frozen=True)
class RemoteStore:
    """A store at a URL.

    Attributes:
        url: as it was given.
        files: the file system.
        root: path of the store in it.
    """

    url: str
    files: AbstractFileSystem
    root: str

    def path(self, *parts: str) -> str:
        return "/".join((self.root.rstrip("/"), *parts))

    def read(self, *parts: str) -> bytes | None:
        """The content of a file; None where there is none."""
        try:
            return self.files.cat_file(self.path(*parts))
        except FileNotFoundError:
            return None

    def check_format(self) -> bool:
        """True where there is a store, false where there is nothing yet.

        Raises:
            StoreError: it is of another format.
        """
        content = self.read("store.json")
        if content is None:
            return False
        try:
            version = json.loads(content)["format"]
        except (ValueError, KeyError, TypeError):
            version = None
        if version != FORMAT:
            raise StoreError(
                f"the store at {self.url} has format {version}; this version reads {FORMAT}: use another URL"
            )
        return True

    def write(self, content: bytes | Path, *parts: str) -> None:
        """Writes a file, and the folders above it where there are any."""
        if self.url.partition("://")[0] not in BUCKETS:
            self.files.makedirs(self.path(*parts[:-1]), exist_ok=True)
        if isinstance(content, Path):
            self.files.put_file(str(content), self.path(*parts))
        else:
            self.files.pipe_file(self.path(*parts), content)

    def record(self, kind: str, key: str) -> StageRecord | None:
        """The record of a finished stage; None where there is none.

        Raises:
            StoreError: it cannot be read.
        """
        content = self.read(kind, key, "record.json")
        try:
            return STAGE_RECORD.validate_json(content) if content is not None else None
        except ValidationError as error:
            raise StoreError(f"{self.url}/{kind}/{key}/record.json cannot be read ({one_line(error)})") from None

    def manifest(self, kind: str, key: str) -> dict[str, _File]:
        """Files of a stage.

        Raises:
            StoreError: there is no such list, or one with a path that leads out of the folder.
        """
        try:
            files = _Manifest.model_validate_json(self.read(kind, key, MANIFEST) or b"").root
        except ValidationError:
            raise StoreError(f"{self.url}/{kind}/{key} has no readable {MANIFEST}") from None
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or name != str(path) or any(part.startswith(".") for part in path.parts):
                raise StoreError(
                    f"{self.url}/{kind}/{key}/{MANIFEST} names {one_line(name)!r}, which is no file of a stage"
                )
        return files

    def stages(self) -> list[tuple[str, str]]:
        """Kind and key of every finished stage."""
        found = [PurePosixPath(path).parts[-3:] for path in self.files.glob(self.path("*", "*", "record.json"))]
        return sorted((kind, key) for kind, key, _ in found)

    def sha256(self, *parts: str) -> str:
        """The hash of a file as it is there."""
        digest = hashlib.sha256()
        with self.files.open(self.path(*parts), "rb", block_size=CHUNK) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


def is_url(text: str) -> bool:
    return bool(text.partition("://")[0]) and "://" in text


def sync_stores(source: str, target: str) -> Merged:
    """Copies the finished stages of a store to a URL, or of one at a URL to a store; one that was cut short goes on.

    Args:
        source, target: a folder and a URL, or a URL and a folder.

    Raises:
        StoreError: neither is a URL, or both are; a store is of another format or cannot be reached; another process
            is merging into the folder.
        OSError: a disk takes nothing more.
    """
    if is_url(source) == is_url(target):
        both = "both are URLs" if is_url(source) else "neither is a URL; `benchbench merge` joins folders"
        raise StoreError(f"sync copies between a folder and a URL, and {both}")
    url = source if is_url(source) else target
    try:
        remote = _remote(url)
        return _push(Store(Path(source)), remote) if url == target else _pull(remote, Path(target))
    except StoreError:
        raise
    except Exception as error:  # of any file system's own classes
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        raise StoreError(f"cannot reach {url} ({type(error).__name__}: {one_line(error)[:300]})") from None


def _remote(url: str) -> RemoteStore:
    from fsspec.core import url_to_fs

    try:
        files, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        protocol = url.partition("://")[0]
        advice = f"; pip install {HINTS[protocol]}" if protocol in HINTS else ""
        raise StoreError(f"{url}: {one_line(error)}{advice}") from None
    return RemoteStore(url.rstrip("/"), files, root)


def _push(source: Store, remote: RemoteStore) -> Merged:
    if not (source.root / "store.json").is_file():
        raise StoreError(f"{source.root} is no store: it has no store.json; give the folder of `--store`")
    source.check_format()
    if not remote.check_format():
        remote.write(json.dumps({"format": FORMAT}).encode(), "store.json")
    pushed = Merged(source.root)
    for path in sorted(source.root.glob("*/*/spec.json")):
        kind, key = path.parts[-3:-1]
        name, folder = f"{kind}/{key}", StageFolder(path.parent)
        if not folder.record.exists():
            pushed.unfinished.append(name)
            continue
        try:
            _push_stage(folder, remote, (kind, key), pushed)
        except StoreError as error:
            pushed.damaged[name] = one_line(error)
    return pushed


def _push_stage(folder: StageFolder, remote: RemoteStore, place: tuple[str, str], pushed: Merged) -> None:
    """Copies one finished stage, unless the URL has it.

    Raises:
        StoreError: it is damaged, here or there.
    """
    record = verified_record(folder, place[0])
    verify_files(folder.path, folder.path, record)
    name = "/".join(place)
    if (present := remote.record(*place)) is not None:
        if differing := differences(present, record):
            pushed.conflicts[name] = differing
        else:
            pushed.same.append(name)
        return
    files = [file for file in stage_files(folder.path, record) if file.name not in ("record.json", MANIFEST)]
    files.append(Path("record.json"))  # last: with it the stage is there
    manifest = {file.as_posix(): _described(folder.path / file) for file in files}
    for file in files:
        if file == files[-1]:
            text = json.dumps({each: described.model_dump() for each, described in manifest.items()}, indent=1)
            remote.write(text.encode(), *place, MANIFEST)
        remote.write(folder.path / file, *place, *file.parts)
        if remote.sha256(*place, *file.parts) != manifest[file.as_posix()].sha256:
            raise StoreError(f"the copy of {folder.path / file} at {remote.url} has another content; sync once more")
    pushed.copied.append(name)


def _described(file: Path) -> _File:
    return _File(bytes=file.stat().st_size, sha256=file_sha256(file))


def _pull(remote: RemoteStore, into: Path) -> Merged:
    """Copies the stages that are not here, one by one, so that each stays where the next ones do not come."""
    if not remote.check_format():
        raise StoreError(f"{remote.url} is no store: it has no store.json")
    target, pulled = Store(into), Merged(remote.url)
    target.open()
    remove_leftovers(target)
    with merging_into(target) as keeper:
        for kind, key in remote.stages():
            name = f"{kind}/{key}"
            try:
                if (present := target.stage(kind, key).done()) is None:
                    _pull_stage(remote, (kind, key), target, keeper, pulled)
                elif differing := differences(present, remote.record(kind, key) or present):
                    pulled.conflicts[name] = differing
                else:
                    pulled.same.append(name)
            except StoreError as error:
                pulled.damaged[name] = one_line(error)
    return pulled


def _pull_stage(
    remote: RemoteStore, place: tuple[str, str], target: Store, keeper: ClaimKeeper, pulled: Merged
) -> None:
    """Downloads a stage into a store of its own, and merges that: one way in, with all its checks.

    Raises:
        StoreError: it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix=INCOMING, dir=target.root) as folder:
        incoming = Store(Path(folder))
        _download(remote, place, incoming)
        merge_store(incoming, target, keeper, pulled)


def _download(remote: RemoteStore, place: tuple[str, str], incoming: Store) -> None:
    """Downloads the files of a stage that its list names.

    Raises:
        StoreError: one has another content than the list says; nothing of the stage is left then.
    """
    manifest = remote.manifest(*place)
    folder = incoming.root.joinpath(*place)
    for name, described in _record_last(manifest.items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        remote.files.get_file(remote.path(*place, name), str(file))
        if _described(file) != described:
            raise StoreError(f"{remote.url}/{'/'.join(place)}/{name} has another content than when it was copied there")


def _record_last(items: Iterable[tuple[str, _File]]) -> list[tuple[str, _File]]:
    return sorted(items, key=lambda item: item[0] == "record.json")
