"""Names that plugin files claim for modules beside them, each for one module, or refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchbench.errors import PluginError
from benchbench.planning.neighbours import FINDER, Neighbours, is_installed, module_files

# Time of change and size of each claimed file when it was last claimed.
_STAMPS: dict[Path, tuple[int, int]] = {}


class Claims:
    """The names that the plugin files of one run claim.

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
        for name, folder in folders.items():
            if name not in self.folders and (changed or FINDER.folders.get(name, folder) != folder):
                forget_module(name)
        _STAMPS.update(stamps)
        FINDER.folders |= folders
        self.folders |= folders
        self.owners = dict.fromkeys(folders, plugin) | self.owners

    def _check(self, name: str, folder: Path) -> None:
        (file, *_) = module_files(folder, name) or [folder / name]
        other = _module_file(name) if name not in FINDER.folders else None
        if name in self.folders and self.folders[name] != folder:
            raise PluginError(f"it imports '{name}' from {file}, and {self.owners[name]} another '{name}'; rename one")
        if name in sys.stdlib_module_names:
            raise PluginError(f"it imports '{name}', which is {file} and a module of Python; rename that file")
        installed = is_installed(name)
        if installed is not None and installed.resolve() != file.resolve():
            raise PluginError(f"it imports '{name}', which is {file} and an installed package; rename that file")
        if other is not None and other.resolve() != file.resolve():
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


def _module_file(name: str) -> Path | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if isinstance(file, str) else None
