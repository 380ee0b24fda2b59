"""Names that plugin files claim for modules beside them, each for one module, or refused."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from benchbench.errors import PluginError
from benchbench.planning.neighbours import FINDER, Neighbours, is_installed, module_files
from benchbench.planning.source_hash import forget_sources

# Time of change and size of each claimed file when it was last claimed.
_STAMPS: dict[Path, tuple[int, int]] = {}


class Claims:
    """The names that the plugin files of one plan claim.

    Several plans of one process may claim a name for different modules, and take turns: see `take`.

    Attributes:
        folders: of each claimed module.
        owners: plugin file that claimed it first.
    """

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.owners: dict[str, Path] = {}

    def add(self, found: Neighbours, plugin: Path) -> None:
        """Makes modules beside a plugin file importable, by this one and for the whole process.

        Raises:
            PluginError: a name means another module already.
        """
        folders = {name: folder for name, folder in found.folders.items() if not _is_elsewhere(name, folder)}
        for name, folder in folders.items():
            self._check(name, folder)
        if FINDER not in sys.meta_path:
            sys.meta_path.insert(0, FINDER)
        importlib.invalidate_caches()  # files may be newer than what Python knows of their folder
        stamps = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in found.files}
        changed = any(_STAMPS.get(file, stamp) != stamp for file, stamp in stamps.items())
        for name in folders:
            if changed and name not in self.folders:
                forget_module(name)
        _STAMPS.update(stamps)
        self.folders |= folders
        self.owners = dict.fromkeys(folders, plugin) | self.owners
        self.take()

    def take(self) -> None:
        """Makes the claimed names mean the modules of this plan, whatever plan of this process has claimed them since.

        A module of another plan stays with those that have imported it; the next import gives this plan's.
        """
        if all(FINDER.folders.get(name) == folder for name, folder in self.folders.items()):
            return
        for name, folder in self.folders.items():
            if not _is_from(name, folder):
                forget_module(name)
        FINDER.folders |= self.folders
        forget_sources()

    def _check(self, name: str, folder: Path) -> None:
        (file, *_) = module_files(folder, name) or [folder / name]
        if name in self.folders and self.folders[name] != folder:
            raise PluginError(f"it imports '{name}' from {file}, and {self.owners[name]} another '{name}'; rename one")
        if name in sys.stdlib_module_names:
            raise PluginError(f"it imports '{name}', which is {file} and a module of Python; rename that file")
        installed = is_installed(name)
        if installed is not None and installed.resolve() != file.resolve():
            raise PluginError(f"it imports '{name}', which is {file} and an installed package; rename that file")
        other = _other_file(name, folder)
        if other is not None:
            raise PluginError(f"it imports '{name}', which is {file}, and {other} is loaded as that; rename one")


def forget_module(name: str) -> None:
    """Makes the next import of a module, and of all under it, read their files again."""
    for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[each]


def _is_elsewhere(name: str, folder: Path) -> bool:
    """True where a folder that is no package has the name of an installed one, or of one of Python's: that counts."""
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return False
    return name in sys.stdlib_module_names or is_installed(name) is not None


def _other_file(name: str, folder: Path) -> Path | None:
    """The file of another module that is loaded by a name, and that Python would find by it again.

    One that it would not find is what another plan, or a folder that is no longer searched, has left behind.
    """
    file = getattr(sys.modules.get(name), "__file__", None)
    if name in FINDER.folders or not isinstance(file, str) or _is_from(name, folder):
        return None
    spec = PathFinder.find_spec(name)
    found = spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()
    return Path(file) if found else None


def _is_from(name: str, folder: Path) -> bool:
    """True where a module is not loaded, or is from a folder."""
    module = sys.modules.get(name)
    own = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    places = {(folder / each).resolve() for each in (name, f"{name}.py", f"{name}/__init__.py")}
    return module is None or any(Path(each).resolve() in places for each in own if isinstance(each, str))
