"""Files that this process opens for reading: what a component's results may depend on."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import benchbench
from benchbench.planning.content_hash import user_cache
from benchbench.planning.neighbours import INSTALLED

# Of Python and of installed packages, and of the machine: no data of anyone's.
_OTHERS = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_OTHERS += [Path(benchbench.__file__).parent]
_OTHERS += [Path(path) for path in ("/proc", "/sys", "/dev", "/etc", "/usr/lib", "/usr/lib64", "/usr/share", "/lib")]
_CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib", ".pth", ".lock")
_NAMES = ("pyproject.toml",)
# Of Python's audit events, those with a file as the first argument.
_EVENTS = ("open", "sqlite3.connect")

_recorders: list[FileReads] = []


class FileReads:
    """Files that were opened while it was recording.

    Files that C libraries open by themselves, as pyarrow does, and those that other processes open are not seen.

    Args:
        before: what was read already.

    Attributes:
        read, written: absolute paths.
    """

    def __init__(self, before: FileReads | None = None) -> None:
        self.read: dict[Path, None] = dict(before.read) if before else {}
        self.written: dict[Path, None] = dict(before.written) if before else {}

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Notes all files that are opened meanwhile, by any thread."""
        _install()
        _recorders.append(self)
        try:
            yield
        finally:
            _recorders.remove(self)

    def data(self, downloads: Path) -> list[Path]:
        """Files that were read and are neither code nor of a library, in the order of reading.

        Those that were made meanwhile are left out, but for downloads: these are made in the first check alone.
        """
        own = [path for path in self.read if path not in self.written or is_under(path, [downloads])]
        return [path for path in own if path.is_file() and not _is_of_others(path)]


def is_under(path: Path, folders: Iterable[Path]) -> bool:
    """True for one of some files or folders, or for what lies in one of these, by way of links too."""
    places = [each for folder in folders for each in (folder.absolute(), folder.resolve())]
    return any(name.is_relative_to(place) for name in (path, path.resolve()) for place in places)


def _is_of_others(path: Path) -> bool:
    packages = any(part in INSTALLED or part.endswith((".dist-info", ".egg-info")) for part in path.parts)
    is_code = path.suffix in _CODE or path.name in _NAMES
    # Libraries keep fonts and settings there, and what they can make again.
    folders = [user_cache("").parent, Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")]
    return packages or is_code or is_under(path, [*_OTHERS, *folders])


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook; it stays for as long as the process does, and must not raise."""
    if not _recorders or event not in _EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    with contextlib.suppress(OSError, ValueError):
        path = Path(os.path.abspath(os.fsdecode(arguments[0])))
        flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
        writes = flags & (os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for recorder in [*_recorders]:
            (recorder.written if writes else recorder.read)[path] = None


@functools.cache  # a hook cannot be taken back
def _install() -> None:
    sys.addaudithook(_note)
