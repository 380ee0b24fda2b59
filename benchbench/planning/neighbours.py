"""Modules beside a plugin file: those that it imports, found without running it, and importable from anywhere.

A plugin file is no part of a package and stands in no folder that Python searches, so what it imports from beside it is
claimed by name: the finder below gives these modules alone, whatever the working directory.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from itertools import groupby
from pathlib import Path

from benchbench.planning.code_tokens import Statement, statements

# Of folders where everything installed lies: nothing there is beside anything.
INSTALLED = ("site-packages", "dist-packages")
_DYNAMIC = ("import_module", "__import__")
# Of a module, or of its file.
_NAME = re.compile(r"\.*[\w-]+([./][\w-]+)*")


class NeighbourFinder(MetaPathFinder):
    """Finds claimed modules; `sys.modules` is one for the whole process, and so is this.

    Attributes:
        plugins: plugin files by the names of their modules. Each is the package of what lies beside it, for relative
            imports.
        folders: folder of each claimed module or package, by its name.
    """

    def __init__(self) -> None:
        self.plugins: dict[str, Path] = {}
        self.folders: dict[str, Path] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in self.plugins:
            file = self.plugins[name]
            return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
        return PathFinder.find_spec(name, [str(self.folders[name])]) if name in self.folders else None

    def claims(self, module: str) -> bool:
        """True for a plugin file, and for what lies beside one."""
        top = module.partition(".")[0]
        return top in self.plugins or top in self.folders

    def homes(self, module: str) -> list[Path]:
        """Folders that a claimed module imports from."""
        top = module.partition(".")[0]
        return homes_of(self.plugins[top]) if top in self.plugins else [self.folders[top]]


FINDER = NeighbourFinder()


@dataclass
class Neighbours:
    """Modules that a file imports from beside it, directly or by way of others.

    Attributes:
        folders: folder of each, by the first part of its name.
        files: all source files of theirs, in the order in which they are reached; the file itself is the first.
        is_part: true where the file imports from the package that it lies in.
    """

    folders: dict[str, Path] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    is_part: bool = False


def neighbours(file: Path, own: bool = True) -> Neighbours:
    """The modules that a plugin file imports from beside it; `own` is false for what the name of a target names."""
    result = Neighbours(files=[file] if file.is_file() else [])
    homes = homes_of(file)
    package = homes[-1] if len(homes) > 1 else None
    for each in result.files:
        for name in _imports(each, homes):
            if name.startswith("."):
                found, top = _relative(each, name), ""
            else:
                found, top = _absolute(name, homes, result), name.partition(".")[0]
            in_package = package is not None and (not top or result.folders.get(top) == package)
            result.is_part |= own and in_package and each == file
            result.files += [path for path in found if path not in result.files]
    if result.is_part:
        result.folders.setdefault(module_in_package(file).partition(".")[0], homes[-1])
    return result


def named(module: str, file: Path) -> Neighbours:
    """The same for a module beside a plugin file that the plugin names and does not import."""
    result = Neighbours()
    homes = homes_of(file)
    for path in _absolute(module, homes, result):
        more = neighbours(path, own=False)
        result.folders |= {name: folder for name, folder in more.folders.items() if folder in homes}
        result.files += [each for each in more.files if each not in result.files]
    return result


def homes_of(file: Path) -> list[Path]:
    """Folders that a file imports from: its own, and that of the package that it is part of; none of an installed."""
    root = file.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    return [folder for folder in dict.fromkeys((file.parent, root)) if folder.name not in INSTALLED]


def module_in_package(file: Path) -> str:
    """The full name of a file that is part of a package."""
    root = homes_of(file)[-1]
    return ".".join(file.relative_to(root).with_suffix("").parts)


def _absolute(name: str, homes: list[Path], result: Neighbours) -> list[Path]:
    """Source files of a module by its name, of the packages around it too; notes the folder that it is from."""
    top = name.partition(".")[0]
    if top == "benchbench" or top.startswith("__"):
        return []
    for folder in homes:
        files = module_files(folder, name)
        if files:
            result.folders.setdefault(top, folder)
            return files
    return []


def _relative(file: Path, name: str) -> list[Path]:
    bare = name.lstrip(".")
    folder = file.parent
    for _ in range(len(name) - len(bare) - 1):
        folder = folder.parent
    files = module_files(folder, bare) if bare else []
    return files or [each for each in [folder / "__init__.py"] if each.is_file()]


def module_files(folder: Path, name: str) -> list[Path]:
    """Source files of a module under a folder, and of the packages that it is in."""
    stem, files = folder, []
    for part in name.split("."):
        stem = stem / part
        candidates = (stem / "__init__.py", stem.with_name(f"{part}.py"))
        files += [path for path in candidates if path.is_file()][:1]
    return files


def _imports(file: Path, homes: list[Path]) -> Iterator[str]:
    """Names of modules that a file may import, relative ones with their dots; of `from a import b` also a.b."""
    try:
        lines = statements(importlib.util.decode_source(file.read_bytes()))
    except (OSError, SyntaxError, UnicodeDecodeError):  # the import says so
        return
    for line in lines:
        tokens = line.tokens
        if tokens[0] == "import":
            yield from (name for name, _ in import_names(tokens[1:]))
        elif tokens[0] == "from":
            middle = tokens.index("import")
            base = "".join(tokens[1:middle])
            yield base
            for name, _ in import_names(tokens[middle + 1 :]):
                joined = f"{base}{name}" if base.endswith(".") else f"{base}.{name}"
                yield from star_imports(file, base, homes) if name == "*" else [joined]
    yield from dynamic_imports(lines, file, homes)


def import_names(tokens: list[str]) -> Iterator[tuple[str, str]]:
    """Dotted names of an import statement with their aliases, "" without one."""
    for is_comma, group in groupby(tokens, lambda token: token == ","):
        if not is_comma:
            name, _, alias = " ".join(group).partition(" as ")
            yield name.replace(" ", ""), alias


def star_imports(file: Path, base: str, homes: Iterable[Path]) -> list[str]:
    """Modules that `from base import *` may import: of a package, those that its `__all__` can name."""
    dots = len(base) - len(base.lstrip("."))
    roots = [*file.parents][dots - 1 : dots] if dots else list(homes)
    folders = [root.joinpath(*filter(None, base.lstrip(".").split("."))) for root in roots]
    stems = [stem for folder in folders if (folder / "__init__.py").is_file() for stem in modules_in(folder)]
    return [f"{base}{stem}" if base.endswith(".") else f"{base}.{stem}" for stem in stems]


def modules_in(folder: Path) -> list[str]:
    """Names of the modules and packages in a folder."""
    files = [path.stem for path in folder.glob("*.py") if path.stem.isidentifier() and path.stem != "__init__"]
    return sorted({*files, *(path.parent.name for path in folder.glob("*/__init__.py"))})


def dynamic_imports(lines: list[Statement], file: Path, homes: Iterable[Path]) -> list[str]:
    """Modules that a file may import by a function, or run as a file; relative ones with their dots.

    A call with a name that is no constant may mean any module beside the file, so all of them count.
    """
    folder, names = file.parent, []
    dot = "" if folder in homes else "."
    words = {token for line in lines for token in line.tokens}
    texts = [text for line in lines for token in line.tokens if (text := _constant(token)) and _NAME.fullmatch(text)]
    for text in texts:
        if text.endswith(".py") and (folder / text).is_file() and folder / text != file:
            names.append(dot + text.removesuffix(".py").replace("/", "."))
    if words.isdisjoint(_DYNAMIC):
        return list(dict.fromkeys(names))
    for text in texts:
        bare = text.lstrip(".")
        if (bare != text and module_files(folder, bare)) or (
            bare == text and any(module_files(home, text) for home in homes)
        ):
            names.append(text)
    if any(_call_is_open(line.tokens) for line in lines):
        names += [dot + name for name in modules_in(folder) if folder / f"{name}.py" != file]
    return list(dict.fromkeys(names))


def _call_is_open(tokens: list[str]) -> bool:
    """True for a call of an import function whose first argument is no constant."""
    for index, token in enumerate(tokens[:-2]):
        if token in _DYNAMIC and tokens[index + 1] == "(":
            alone = tokens[index + 3 : index + 4] in ([")"], [","])
            if not alone or not _constant(tokens[index + 2]):
                return True
    return False


def _constant(token: str) -> str:
    """The value of a string literal; "" for any other token."""
    if not token.startswith(("'", '"')):
        return ""
    try:
        value = ast.literal_eval(token)
    except (SyntaxError, ValueError):
        return ""
    return value if isinstance(value, str) else ""


def is_installed(name: str) -> Path | None:
    """The file of a module that is installed as a package."""
    folders = [folder for folder in sys.path if Path(folder).name in INSTALLED]
    spec = PathFinder.find_spec(name, folders)
    return Path(spec.origin) if spec is not None and spec.origin else None
