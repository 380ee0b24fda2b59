"""Hashes of source code: of a module and of all that it imports from its own package, from ours, and of a user's own.

A key that covered the component's own file alone would keep a stale result when a helper is edited; one that covered
the whole package would throw results away at every edit of an unrelated file. Of a plugin file, the modules that it
imports from beside it count (see `neighbours`); of any plugin, the libraries that it imports and that are not installed
as a package: on PYTHONPATH, or for editing. Modules count by their statements (see `code_tokens`) and by which of
them imports what from which: not by their names, and not by the places of their files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
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
# Libraries that ours stands on are no user's own, even where they are built from their sources.
LIBRARIES = frozenset(
    {
        *("PIL", "diffusers", "huggingface_hub", "matplotlib", "numpy", "pandas", "pluggy", "pyarrow", "pydantic"),
        *("safetensors", "scipy", "segmentation_models_pytorch", "timm", "torch", "torchvision", "transformers"),
    }
)
# Stands for the name of a module whose statements are hashed beside those of its importer.
_FOLLOWED = "@"


@functools.cache
def source_hash(module: str, others: tuple[str, ...] = ()) -> str:
    """sha256 over the source of a module and, transitively, of what it imports that is part of it.

    Args:
        module: full name.
        others: further modules that count; those without Python source are left out.

    Raises:
        PluginError: there is no such module, or it has no Python source.
    """
    if _file(module) is None:
        raise PluginError(f"there is no Python source of module '{module}', which a component names as its target")
    # Modules in the order in which they are reached, so that neither names nor cycles matter.
    numbers: dict[str, int] = {}
    digest = hashlib.sha256()
    for start in (module, *(other for other in others if _file(other) is not None)):
        queue = [name for name in (start, *_packages_of(start)) if name not in numbers]
        numbers |= {name: number for number, name in enumerate(queue, len(numbers))}
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
    """Reads again what may have changed since: plugin files, what lies beside them, and which libraries are own."""
    for cached in (source_hash, _file, _source, _has_statements, _is_own_library):
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
    lines: list[Statement] = []
    imports: list[str] = []
    registers = False
    code = statements(_text(module, path))
    for (level, is_import), run in groupby(code, lambda line: (line.level, _is_import(line))):
        if not is_import:
            body = list(run)
            registers |= any(line.tokens == ["@", "hookimpl"] for line in body)
            lines += body
            continue
        for binding in _in_order([binding for line in run for binding in _bindings(line.tokens, module, path)]):
            lines.append(Statement(level, list(binding.tokens)))
            if binding.module is not None:
                imports.append(binding.module)
    if not _is_ours(module):
        imports = _with_packages(imports, module) + _hidden_imports(code, module, path)
    return ModuleSource(statements_hash(lines), tuple(imports), registers)


def _text(module: str, path: Path) -> str:
    try:
        return importlib.util.decode_source(path.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise PluginError(f"the source of module '{module}' cannot be read ({error})") from None


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "benchbench"


def _with_packages(imports: list[str], importer: str) -> list[str]:
    """Modules that a plugin imports, with the packages that Python imports on the way to each."""
    return [each for name in imports for each in (*_packages_of(name), name) if each != importer]


def _packages_of(module: str) -> list[str]:
    """The packages around a module of a plugin, of which Python runs the files."""
    if _is_ours(module):
        return []
    parts = module.split(".")
    packages = [".".join(parts[:end]) for end in range(1, len(parts))]
    return [name for name in packages if name not in FINDER.plugins and _has_statements(name)]


@functools.cache
def _has_statements(module: str) -> bool:
    path = _file(module)
    return path is not None and bool(statements(_text(module, path)))


def _hidden_imports(code: list[Statement], module: str, path: Path) -> list[str]:
    """Modules that one of a plugin imports by a star or by a function."""
    is_claimed = FINDER.claims(module)
    depth = module.count(".") + (path.name == "__init__.py")
    homes = FINDER.homes(module) if is_claimed else [path.parents[depth]]
    names = dynamic_imports(code, path, homes)
    for line in code:
        if line.tokens[0] == "from" and line.tokens[-1] == "*":
            names += star_imports(path, "".join(line.tokens[1 : line.tokens.index("import")]), homes)
    absolute = [_absolute(name, module, path) for name in names]
    return [name for name in absolute if is_claimed or _is_followed(name, module, path)]


def _in_order(bindings: list[_Binding]) -> list[_Binding]:
    """Names that imports one after another bind, sorted where their order has no effect.

    So a module that is called otherwise, and stands elsewhere in the list, changes nothing. Of a name that is bound
    twice the last one counts, and a star may bind any.
    """
    origins: dict[str, set[tuple[tuple[str, ...], str | None]]] = {}
    for binding in bindings:
        origins.setdefault(binding.name, set()).add(binding.origin)
    twice = {name for name, several in origins.items() if len(several) > 1}
    if "*" in origins:
        twice = set(origins)
    alone = {binding for binding in bindings if binding.name not in twice}
    ordered = [binding for binding in bindings if binding.name in twice]
    return sorted(alone, key=lambda binding: (binding.tokens, binding.module or "")) + ordered


def _is_import(line: Statement) -> bool:
    return line.tokens[0] in ("from", "import")


@dataclass(frozen=True)
class _Binding:
    """One name that an import statement binds.

    Attributes:
        tokens: the statement for it alone.
        module: the module that it comes from; None where that one is no part of the source.
        name: the name; "*" for all of a module.
    """

    tokens: tuple[str, ...]
    module: str | None
    name: str

    @property
    def origin(self) -> tuple[tuple[str, ...], str | None]:
        """Equal for two statements that bind the name to the same object: `import a.b` and `import a.c` both bind a."""
        is_top = self.tokens[0] == "import" and "as" not in self.tokens
        return (("import",), None) if is_top else (self.tokens, self.module)


def _bindings(tokens: list[str], module: str, path: Path) -> Iterator[_Binding]:
    """The names that an import statement of a module binds."""
    if tokens[0] == "import":
        for dotted, alias in import_names(tokens[1:]):
            followed = _is_followed(dotted, module, path) and _file(dotted) is not None
            origin = (_FOLLOWED,) if followed and alias else (dotted, _FOLLOWED) if followed else (dotted,)
            yield _Binding(
                ("import", *origin, *(("as", alias) if alias else ())),
                dotted if followed else None,
                alias or dotted.partition(".")[0],
            )
        return
    middle = tokens.index("import")
    base = _absolute("".join(tokens[1:middle]), module, path)
    if base == "__future__":
        return
    followed = _is_followed(base, module, path)
    for name, alias in import_names(tokens[middle + 1 :]):
        submodule, bound = f"{base}.{name}", alias or name
        if followed and _file(submodule) is not None:
            yield _Binding(("import", _FOLLOWED, "as", bound), submodule, bound)
        elif followed and _file(base) is not None:
            yield _Binding(("from", _FOLLOWED, "import", name, "as", bound), base, bound)
        else:
            yield _Binding(("from", base, "import", name, "as", bound), None, bound)


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
    spec = _spec(top)
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    stems = [Path(folder).joinpath(*parts) for folder in spec.submodule_search_locations or ()]
    candidates = [file for stem in stems for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")]
    return next((file for file in candidates if file.is_file()), None)


def _spec(top: str) -> ModuleSpec | None:
    """The spec of a top-level module or package."""
    try:
        return FINDER.find_spec(top) or getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def _is_followed(imported: str, importer: str, path: Path) -> bool:
    """True where an import is part of the source."""
    # Its own package; ours, since a loss may derive from a built-in; files beside it outside of any package; and, of a
    # plugin, a user's own libraries.
    top = imported.partition(".")[0]
    if top in (importer.partition(".")[0], "benchbench") or top in FINDER.folders or _is_neighbour(top, path):
        return True
    return not _is_ours(importer) and _is_own_library(top)


@functools.cache
def _is_own_library(top: str) -> bool:
    """True for a package or module that is neither Python's nor installed: on PYTHONPATH, or installed for editing."""
    if top in sys.stdlib_module_names or top in LIBRARIES:
        return False
    spec = _spec(top)
    places = [spec.origin] if spec and spec.origin else list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        return False
    path = Path(places[0])
    folder = path.parents[1] if path.name == "__init__.py" else path.parent
    return set(INSTALLED).isdisjoint(path.parts) and not any(folder.glob("*.dist-info"))  # as `pip --target` leaves


def _is_neighbour(top: str, importer: Path) -> bool:
    """True where a module lies beside the one that imports it, outside the folders where everything installed lies."""
    folder = importer.parent
    if folder.name in INSTALLED or (folder / "__init__.py").exists():
        return False
    return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
