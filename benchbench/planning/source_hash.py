"""Hashes of source code: of a module and of all that it imports from its own package and from ours.

A key that covered the component's own file alone would keep a stale result when a helper is edited; one that covered
the whole package would throw results away at every edit of an unrelated file. Of a plugin file, the modules that it
imports from beside it count (see `neighbours`). Modules count by their statements (see `code_tokens`) and by which of
them imports what from which: not by their names, and not by the places of their files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchbench.errors import PluginError
from benchbench.planning.code_tokens import Statement, statements, statements_hash
from benchbench.planning.neighbours import FINDER, INSTALLED, dynamic_imports, import_names, star_imports

# These change no number: messages, files on disk, registration, keys themselves, and measurements beside the work.
IGNORED = frozenset(
    {
        "benchbench",
        "benchbench.components",
        "benchbench.errors",
        "benchbench.hardware.energy",
        "benchbench.hookspecs",
        "benchbench.lifecycle_hooks",
        "benchbench.planning.keys",
        "benchbench.store",
    }
)
# Packages likewise: every parameter that a catalogue declares, and every field of a spec, is spelled out in the spec
# itself, which the key covers; a record is written when all numbers are known. For the same reason no module of ours
# counts that implements registration hooks.
IGNORED_PACKAGES = ("benchbench.losses.catalog.", "benchbench.specs.")
# Stands for the name of a module whose statements are hashed beside those of its importer.
_FOLLOWED = "@"


@functools.cache
def source_hash(module: str) -> str:
    """sha256 over the source of a module and, transitively, of its imports from its own package and from ours.

    Raises:
        PluginError: there is no such module, or it has no Python source.
    """
    if _file(module) is None:
        raise PluginError(f"there is no Python source of module '{module}', which a component names as its target")
    # Modules in the order in which they are reached, so that neither names nor cycles matter.
    queue = [module, *_packages_beside(module)]
    numbers = {name: number for number, name in enumerate(queue)}
    digest = hashlib.sha256()
    for name in queue:
        source = _source(name)
        digest.update(f"{source.digest}\n".encode())
        for imported in source.imports:
            if not _counts(imported):
                digest.update(b"-\n")
                continue
            if imported not in numbers:
                numbers[imported] = len(numbers)
                queue.append(imported)
            digest.update(f"{numbers[imported]}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class ModuleSource:
    """The source of one module.

    Attributes:
        digest: sha256 over its statements, without the names of the modules in `imports`.
        imports: modules that are part of its source, in the order of its statements.
        registers: True where it implements hooks.
    """

    digest: str
    imports: tuple[str, ...]
    registers: bool


def _counts(module: str) -> bool:
    """True where a module is part of the source of those that import it."""
    if module in IGNORED or f"{module}.".startswith(IGNORED_PACKAGES) or _file(module) is None:
        return False
    return not (module.startswith("benchbench.") and _source(module).registers)


def forget_sources() -> None:
    """Reads again what may have changed since: plugin files, and what lies beside them."""
    for cached in (source_hash, _file, _source):
        cached.cache_clear()


@functools.cache
def _source(module: str) -> ModuleSource:
    path = _file(module)
    assert path is not None
    return _parse(module, path) if FINDER.claims(module) else _parsed(module, path)


@functools.cache
def _parsed(module: str, path: Path) -> ModuleSource:
    return _parse(module, path)


def _parse(module: str, path: Path) -> ModuleSource:
    try:
        text = importlib.util.decode_source(path.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise PluginError(f"the source of module '{module}' cannot be read ({error})") from None
    lines: list[Statement] = []
    imports: list[str] = []
    registers = False
    code = statements(text)
    for (level, is_import), run in groupby(code, lambda line: (line.level, _is_import(line))):
        if not is_import:
            body = list(run)
            registers |= any(line.tokens == ["@", "hookimpl"] for line in body)
            lines += body
            continue
        # Sorted, so that a module that is called otherwise, and so stands elsewhere in the list, changes nothing.
        bindings = {binding for line in run for binding in _bindings(line.tokens, module, path)}
        for binding in sorted(bindings, key=lambda binding: (binding.tokens, binding.module or "")):
            lines.append(Statement(level, list(binding.tokens)))
            if binding.module is not None:
                imports.append(binding.module)
    if FINDER.claims(module):
        imports = _with_packages(imports, module) + _hidden_imports(code, module, path)
    return ModuleSource(statements_hash(lines), tuple(imports), registers)


def _with_packages(imports: list[str], importer: str) -> list[str]:
    """Modules beside a plugin file, with the packages that Python imports on the way to each."""
    return [each for name in imports for each in (*_packages_beside(name), name) if each != importer]


def _packages_beside(module: str) -> list[str]:
    if not FINDER.claims(module):
        return []
    parts = module.split(".")
    packages = [".".join(parts[:end]) for end in range(1, len(parts))]
    return [name for name in packages if name not in FINDER.plugins and _file(name) is not None]


def _hidden_imports(code: list[Statement], module: str, path: Path) -> list[str]:
    """Modules beside a plugin file that one of them imports by a star or by a function."""
    homes = FINDER.homes(module)
    names = dynamic_imports(code, path, homes)
    for line in code:
        if line.tokens[0] == "from" and line.tokens[-1] == "*":
            names += star_imports(path, "".join(line.tokens[1 : line.tokens.index("import")]), homes)
    return [_absolute(name, module, path) for name in names]


def _is_import(line: Statement) -> bool:
    return line.tokens[0] in ("from", "import")


@dataclass(frozen=True)
class _Binding:
    """One name that an import statement binds.

    Attributes:
        tokens: the statement for it alone.
        module: the module that it comes from; None where that one is no part of the source.
    """

    tokens: tuple[str, ...]
    module: str | None


def _bindings(tokens: list[str], module: str, path: Path) -> Iterator[_Binding]:
    """The names that an import statement of a module binds."""
    if tokens[0] == "import":
        for dotted, alias in import_names(tokens[1:]):
            followed = _is_followed(dotted, module, path)
            origin = (_FOLLOWED,) if followed and alias else (dotted, _FOLLOWED) if followed else (dotted,)
            yield _Binding(("import", *origin, *(("as", alias) if alias else ())), dotted if followed else None)
        return
    middle = tokens.index("import")
    base = _absolute("".join(tokens[1:middle]), module, path)
    if base == "__future__":
        return
    followed = _is_followed(base, module, path)
    for name, alias in import_names(tokens[middle + 1 :]):
        submodule = f"{base}.{name}"
        if not followed:
            yield _Binding(("from", base, "import", name, "as", alias or name), None)
        elif _file(submodule) is not None:
            yield _Binding(("import", _FOLLOWED, "as", alias or name), submodule)
        else:
            yield _Binding(("from", _FOLLOWED, "import", name, "as", alias or name), base)


def _absolute(base: str, module: str, path: Path) -> str:
    """The absolute name of a module that an import statement names."""
    name = base.lstrip(".")
    dots = len(base) - len(name)
    if not dots:
        return name
    is_package = path.name == "__init__.py" or module in FINDER.plugins
    package = module.split(".") if is_package else module.split(".")[:-1]
    return ".".join(filter(None, [*package[: len(package) - dots + 1], name]))


@functools.cache
def _file(name: str) -> Path | None:
    """The source file of a module, by its place under its top-level package: nothing is imported on the way."""
    top, *parts = name.split(".")
    try:
        spec = FINDER.find_spec(top) or getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    stems = [Path(folder).joinpath(*parts) for folder in spec.submodule_search_locations or ()]
    candidates = [file for stem in stems for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")]
    return next((file for file in candidates if file.is_file()), None)


def _is_followed(imported: str, importer: str, path: Path) -> bool:
    """True where an import is part of the source."""
    # Its own package; ours, since a loss may derive from a built-in; and files beside it outside of any package.
    top = imported.partition(".")[0]
    return top in (importer.partition(".")[0], "benchbench") or top in FINDER.folders or _is_neighbour(top, path)


def _is_neighbour(top: str, importer: Path) -> bool:
    """True where a module lies beside the one that imports it, outside the folders where everything installed lies."""
    folder = importer.parent
    if folder.name in INSTALLED or (folder / "__init__.py").exists():
        return False
    return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
