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

# These change no number: the wording of messages, and registrations, whose parameters every job spells out in full.
IGNORED = frozenset(
    {
        "benchbench.augmenters",
        "benchbench.components",
        "benchbench.data",
        "benchbench.data.sources.params",
        "benchbench.errors",
        "benchbench.hookspecs",
        "benchbench.losses",
        "benchbench.store",
    }
)


@functools.cache
def source_hash(module: str) -> str:
    """sha256 over the source of a module and, transitively, of what it imports from its own package."""
    files: dict[str, Path] = {}
    _collect(module, files)
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
        if imported.partition(".")[0] == name.partition(".")[0]:
            _collect(imported, files)


@functools.cache
def _file(name: str) -> Path | None:
    """The source file of a module, found by its place under its top-level package: nothing is imported on the way."""
    top, *parts = name.split(".")
    loaded = sys.modules.get(top)
    origin = getattr(loaded, "__file__", None)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            spec = None
        origin = spec.origin if spec else None
    if not origin or not origin.endswith(".py"):
        return None
    if not parts or Path(origin).name != "__init__.py":
        return Path(origin) if not parts else None
    place = Path(origin).parent.joinpath(*parts)
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
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
                found.append(submodule if _is_own(base, name) and _file(submodule) else base)
    return found


def _is_own(base: str, name: str) -> bool:
    return base.partition(".")[0] == name.partition(".")[0]


def content_hash(path: Path) -> str:
    """What stands at a path: the sha256 of a file, or of a folder's relative file names and sizes."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
    elif path.is_file():
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
    else:
        digest.update(b"absent")
    return digest.hexdigest()
