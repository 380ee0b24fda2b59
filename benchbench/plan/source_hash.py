"""Which source a result came from: hashes of a module and of everything in its package that it imports.

A key that covered the component's own file alone would keep a stale result when a helper is edited; one that covered
the whole package would throw results away at every edit of an unrelated file.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from pathlib import Path

from benchbench.errors import PluginError

# These change no number: messages, what is measured beside the work, and registrations, whose parameters every job
# spells out in full.
IGNORED = frozenset(
    {
        "benchbench",
        "benchbench.augmenters",
        "benchbench.components",
        "benchbench.hardware.energy",
        "benchbench.data",
        "benchbench.data.sources.params",
        "benchbench.errors",
        "benchbench.hookspecs",
        "benchbench.losses",
        "benchbench.losses.catalog",
        "benchbench.losses.catalog.embeddings",
        "benchbench.losses.catalog.entry",
        "benchbench.losses.catalog.features",
        "benchbench.losses.catalog.labels",
        "benchbench.losses.catalog.logits",
        "benchbench.store",
        "benchbench.synthesis",
    }
)


@functools.cache
def source_hash(module: str) -> str:
    """sha256 over the source of a module and, transitively, of what it imports from its own package and from ours.

    Raises:
        PluginError: there is no such module, or it has no Python source.
    """
    files: dict[str, Path] = {}
    _collect(module, files)
    if not files:
        raise PluginError(f"there is no Python source of module '{module}', which a component names as its target")
    digest = hashlib.sha256()
    for name in sorted(files):
        # The module's name stands for its place: the same file installed elsewhere has the same hash.
        digest.update(f"{_stable(name)}\0".encode())
        digest.update(files[name].read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _stable(name: str) -> str:
    return "plugin-file" if name.startswith("benchbench_plugin_") else name


def _collect(name: str, files: dict[str, Path]) -> None:
    if name in files or name in IGNORED:
        return
    path = _file(name)
    if path is None:
        return
    files[name] = path
    for imported in _imports(name, path):
        if _followed(imported, name) or _is_neighbour(imported.partition(".")[0], path):
            _collect(imported, files)


@functools.cache
def _file(name: str) -> Path | None:
    """The source file of a module, found by its place under its top-level package: nothing is imported on the way."""
    top, *parts = name.split(".")
    try:
        spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    places = [Path(folder).joinpath(*parts) for folder in spec.submodule_search_locations or ()]
    candidates = [file for place in places for file in (place.with_name(f"{place.name}.py"), place / "__init__.py")]
    return next((file for file in candidates if file.is_file()), None)


@functools.cache
def _imports(name: str, path: Path) -> list[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.append(submodule if _followed(base, name) and _file(submodule) else base)
    return found


def _is_neighbour(top: str, importer: Path) -> bool:
    """Whether a module lies beside the one that imports it, outside the folders where everything installed lies."""
    folder = importer.parent
    if folder.name in ("site-packages", "dist-packages") or (folder / "__init__.py").exists():
        return False
    return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()


def _followed(imported: str, importer: str) -> bool:
    """Whether an import is part of the source: its own package, and ours, since a loss may derive from a built-in."""
    return imported.partition(".")[0] in (importer.partition(".")[0], "benchbench")
