"""Claims: which process works on a stage, on any machine that has the store's folder.

STORE/claims/KIND-KEY/1, 2, 3 ... are made by link(2), which has one winner. The number counts takeovers, and the
highest one holds the stage: whoever had a lower one finds out before it renames a file into place, see `fencing`. A
holder renews the time of its file. One that has been silent for `LEASE` seconds by the clock of the file server has
lost the stage to whoever asks next, and so has a process of this machine that has ended, at once. "3.released" was
given up by its holder; after the end of a finished stage the folder is gone.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from benchbench.errors import ClaimLostError, StoreError, one_line
from benchbench.store.processes import Process, this_process

FOLDER = "claims"
LEASE = 300.0  # seconds
RENEWALS = 20  # of a claim while its lease lasts
OLD = 86400.0  # seconds after which a file that a run needs for moments is nobody's
TRIES = 100  # to take a claim that others take and give back meanwhile
RUN = "run"  # kind of the claim that a run has on itself, which shows that it is there
RELEASED = "released"
_NAME = re.compile(rf"(\d+)(\.{RELEASED})?")
# What link(2) answers where there are no links.
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}


def lease_seconds() -> float:
    """The lease; tests have shorter ones."""
    return float(os.environ.get("BENCHBENCH_LEASE_SECONDS", LEASE))


@dataclass(frozen=True)
class Holder:
    """The holder of a claim: a process, the run that it does, and the slots of that."""

    process: Process
    run: str
    slots: int = 0

    def __str__(self) -> str:
        return str(self.process)


HOLDER = TypeAdapter(Holder)


@dataclass(frozen=True)
class Claim:
    """A stage that this run holds.

    Attributes:
        folder: STORE/claims/KIND-KEY.
        number: of its file; its fencing token.
        holder: this run.
        contested: true where the holder before may still be at work, and does not know yet that it has lost the stage.
    """

    folder: Path
    number: int
    holder: Holder
    contested: bool = False

    def require(self) -> None:
        """Makes sure that the stage is still held.

        Raises:
            ClaimLostError: another process has taken it over; with its host and number.
        """
        top = _highest(self.folder)
        if top is None or top.number < self.number:
            raise ClaimLostError("taken over and finished by another process")
        successor = _read_holder(self.folder, top.number, top.released)
        own = top.number == self.number and not top.released
        if own and successor in (self.holder, None):  # None: it could not be read, which says nothing
            return
        raise ClaimLostError(f"taken over by {successor or 'another process'}")


@dataclass(frozen=True)
class Held:
    """A stage that another run holds, or has given up.

    Attributes:
        number: of the claim.
        holder: who has it; None in the moment before that is written.
        state: "live"; "dead" and "silent" claims may be taken over, "released" ones were given up.
    """

    number: int
    holder: Holder | None
    state: Literal["live", "dead", "silent", "released"]

    def __str__(self) -> str:
        return str(self.holder or "another process")


@dataclass(frozen=True)
class _Entry:
    number: int
    released: bool


class Claims:
    """Takes and gives back claims of one run.

    Args:
        root: folder of the store.
        run: name of the run, which no other has.
        slots: of the run.

    Raises:
        StoreError: nothing can be written there.
    """

    def __init__(self, root: Path, run: str, slots: int = 0):
        self.root, self.lease = root / FOLDER, lease_seconds()
        self.holder = Holder(this_process(), run, slots)
        self._content = HOLDER.dump_json(self.holder)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._clock = self.root / f".clock-{self.holder.process.host}-{os.getpid()}-{secrets.token_hex(4)}"
            self._clock.touch()
            self._remove_leftovers()
        except OSError as error:
            raise StoreError(f"cannot write store {root} ({one_line(error)}); use another --store DIR") from None

    def _remove_leftovers(self) -> None:
        """Removes files of runs that were killed, and their claims on themselves."""
        now = self.now()
        with os.scandir(self.root) as entries:
            old = [Path(entry) for entry in entries if entry.name.startswith((".", f"{RUN}-"))]
        for path in old:
            with contextlib.suppress(OSError):
                if path.name.startswith("."):
                    if now - path.stat().st_mtime > OLD:
                        path.unlink()
                elif (held := self.look(path, now)) is None:  # or a run has just made it, to write its claim there
                    path.rmdir()
                elif held.state != "live":
                    _remove(path, held.number)

    def close(self) -> None:
        self._clock.unlink(missing_ok=True)

    def now(self) -> float:
        """The time by the clock of the file server, which the times of claims are of."""
        try:
            os.utime(self._clock)
        except FileNotFoundError:
            self._clock.touch()
        return self._clock.stat().st_mtime

    def folder(self, kind: str, key: str) -> Path:
        return self.root / f"{kind}-{key}"

    def take(self, kind: str, key: str) -> Claim | Held:
        """Takes a stage's claim; gives who holds it where another does.

        Args:
            kind: of the stage.
            key: of the stage, as its folder is called.

        Raises:
            StoreError: the claim cannot be written.
        """
        folder = self.folder(kind, key)
        try:
            for _ in range(TRIES):
                folder.mkdir(exist_ok=True)
                held = self.look(folder)
                if held is not None and held.holder == self.holder and held.state != "released":
                    return Claim(folder, held.number, self.holder)
                if held is not None and held.state == "live":
                    return held
                number = held.number + 1 if held is not None else 1
                if self._create(folder, number):
                    return Claim(folder, number, self.holder, held is not None and held.state == "silent")
        except OSError as error:
            raise StoreError(f"cannot write claim {folder} ({one_line(error)}); use another --store DIR") from None
        raise StoreError(f"cannot take claim {folder}: others take and give it back all the time")

    def look(self, folder: Path, now: float | None = None) -> Held | None:
        """The claim on a stage, by the folder of its claims; None where nobody has ever had it, or it is finished.

        Args:
            folder: as `folder` gives it.
            now: by the server's clock, where it was asked a moment ago.
        """
        return _look(folder, self.lease, self.now if now is None else lambda: now)

    def names(self) -> set[str]:
        """KIND-KEY of all stages that are claimed, or were given up without a result."""
        with os.scandir(self.root) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}

    def other_runs(self, names: Iterable[str], now: float | None = None) -> Iterator[Held]:
        """The claims on themselves of other runs that are at work on the store.

        Args:
            names: of claims, as `names` gives them.
            now: as `look` takes it.
        """
        for name in sorted(names):
            if name.startswith(f"{RUN}-"):
                held = self.look(self.root / name, now)
                if held is not None and held.state == "live" and held.holder != self.holder:
                    yield held

    def renew(self, claim: Claim) -> None:
        """Tells the others that a claim's holder is there.

        Raises:
            ClaimLostError: another process has taken it over.
        """
        claim.require()
        with contextlib.suppress(FileNotFoundError):  # lost in this moment, which the next call says
            os.utime(claim.folder / str(claim.number))

    def release(self, claim: Claim, finished: bool) -> None:
        """Gives a claim back; nothing where it is lost. After the end of a finished stage nothing is left of it."""
        own = claim.folder / str(claim.number)
        with contextlib.suppress(OSError, ClaimLostError):
            claim.require()
            if not finished:
                own.rename(own.with_name(f"{own.name}.{RELEASED}"))
                return
            _remove(claim.folder, claim.number)

    def deaths(self, claim: Claim, since: float) -> int:
        """Number of holders before that have ended without giving the stage back.

        Args:
            claim: that is held now.
            since: those that were silent before this time, by the server's clock, do not count.
        """
        times: list[float] = []
        for entry in _entries(claim.folder):
            if entry.number < claim.number and not entry.released:
                with contextlib.suppress(FileNotFoundError):
                    times.append((claim.folder / str(entry.number)).stat().st_mtime)
        return sum(each >= since for each in times)

    def expel(self, folder: Path, number: int) -> None:
        """Takes a claim from a holder that is known to have ended: the stage is free at once, and a zombie's lost."""
        with contextlib.suppress(FileNotFoundError):
            if self._create(folder, number + 1):  # else it was taken over meanwhile, or the stage is finished
                folder.joinpath(str(number + 1)).rename(folder / _file_name(_Entry(number + 1, True)))

    def _create(self, folder: Path, number: int) -> bool:
        """Makes a claim's file, complete at once; false where there is one already."""
        path, temporary = folder / str(number), self.root / f".{secrets.token_hex(8)}.tmp"
        try:
            temporary.write_bytes(self._content)
            _link(temporary, path)
            return True
        except FileExistsError:  # or the answer was lost on its way and the request sent again
            return _read_holder(folder, number) == self.holder
        except FileNotFoundError:  # the folder is gone, with the end of the stage
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return self._create_exclusively(path)

    def _create_exclusively(self, path: Path) -> bool:
        """The same on a file system without links: for a moment it is not known whose the claim is."""
        try:
            with path.open("xb") as stream:
                stream.write(self._content)
            return True
        except (FileExistsError, FileNotFoundError):
            return False


def live_claims(root: Path) -> dict[str, Held]:
    """Stages of a store that a process is at work on, by KIND-KEY, for one that only reads; runs are among them."""
    folder = root / FOLDER
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return {}
    now = functools.cache(lambda: _time_in(folder))
    claims = ((name, _look(folder / name, lease_seconds(), now)) for name in names)
    return {name: held for name, held in claims if held is not None and held.state == "live"}


def _time_in(folder: Path) -> float:
    """The time by the clock of a folder's server; by the own one where nothing can be written there."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".look-", dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _look(folder: Path, lease: float, now: Callable[[], float]) -> Held | None:
    top = _highest(folder)
    if top is None:
        return None
    holder = _read_holder(folder, top.number, top.released)
    if top.released:
        return Held(top.number, holder, "released")
    if holder is not None and holder.process.is_dead():
        return Held(top.number, holder, "dead")
    try:
        with (folder / str(top.number)).open("rb") as stream:  # opened: another machine's times may be remembered
            silence = now() - os.fstat(stream.fileno()).st_mtime
    except FileNotFoundError:  # released or taken over meanwhile
        silence = 0.0
    return Held(top.number, holder, "silent" if silence > lease else "live")


def _link(temporary: Path, path: Path) -> None:
    os.link(temporary, path)


def _remove(folder: Path, number: int) -> None:
    """Removes the claims on a stage up to a number, and their folder.

    Raises:
        OSError: there is a later claim.
    """
    for entry in sorted(_entries(folder), key=lambda entry: entry.number):
        if entry.number <= number:
            folder.joinpath(_file_name(entry)).unlink(missing_ok=True)
    folder.rmdir()


def _entries(folder: Path) -> Iterator[_Entry]:
    """Claims by a fresh look: a folder that is opened is read anew, where `exists` may give what was remembered."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if match := _NAME.fullmatch(entry.name):
                yield _Entry(int(match[1]), match[2] is not None)


def _highest(folder: Path) -> _Entry | None:
    return max(_entries(folder), key=lambda entry: (entry.number, entry.released), default=None)


def _file_name(entry: _Entry) -> str:
    return f"{entry.number}.{RELEASED}" if entry.released else str(entry.number)


def _read_holder(folder: Path, number: int, released: bool = False) -> Holder | None:
    with contextlib.suppress(OSError, ValidationError):
        return HOLDER.validate_json((folder / _file_name(_Entry(number, released))).read_bytes())
    return None
