"""A YAML file becomes a `Suite`; every error names the file, the line, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from benchbench.errors import SuiteError, one_line
from benchbench.suite import Suite

Loc = Sequence[str | int]


@dataclass
class SuiteFile:
    """A suite, and where each of its parts stands.

    Attributes:
        path: the file.
        suite: its content, overrides applied.
        document: the parsed YAML, which knows line numbers.
        overrides: the dotted keys that `--set` replaced.
    """

    path: Path
    suite: Suite
    document: CommentedMap
    overrides: list[str] = field(default_factory=list)

    def error(self, problem: str, loc: Loc, hint: str = "") -> SuiteError:
        """An error that points at a part of the suite."""
        return _error_at(self.path, self.document, self.overrides, problem, loc, hint)

    def resolve(self, path: Path) -> Path:
        """A path as a suite means it: relative to the suite file, else to the current directory."""
        beside = self.path.parent / path.expanduser()
        return (beside if beside.exists() or not path.exists() else path).absolute()


def load_suite(path: Path, overrides: Sequence[str] = ()) -> SuiteFile:
    """Reads a suite file.

    Args:
        path: the YAML file (YAML 1.2).
        overrides: `dotted.key=value` each, the value in YAML.

    Raises:
        SuiteError: anything in it is wrong; one line with file, line and what to do.
    """
    document = _parse(path)
    keys = [_override(path, document, override) for override in overrides]
    try:
        return SuiteFile(path, Suite.model_validate(_plain(document)), document, keys)
    except ValidationError as error:
        raise explain(error, path, document, keys) from None


def explain(
    error: ValidationError, path: Path, document: Any, overrides: Sequence[str], prefix: Loc = ()
) -> SuiteError:
    """The first problem that pydantic found, as one line; `prefix` is where the validated part stands in the file."""
    problem = error.errors(include_url=False)[0]
    loc: list[str | int] = [*prefix, *problem["loc"]]
    context = problem.get("ctx", {})
    message = str(problem["msg"])
    if problem["type"] == "unknown_key":
        loc.append(str(context["key"]))
    elif problem["type"] == "missing":
        message = f"'{problem['loc'][-1]}' is missing"
        loc = loc[:-1]
    else:
        message = message[0].lower() + message[1:]
        given = problem.get("input")
        if isinstance(given, str | int | float | bool | None):
            message += f" (given: {one_line(repr(given))})"
    name = ".".join(str(part) for part in _real_path(document, loc))
    return _error_at(path, document, overrides, f"{name}: {message}" if name else message, loc)


def _parse(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SuiteError(f"suite file {path} does not exist", hint="give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"cannot read suite file {path} ({one_line(error)})") from None
    try:
        document = YAML().load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SuiteError(one_line(str(error.problem)), path, line, "keep one of them") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SuiteError(f"not valid YAML: {one_line(str(error.problem or error.context))}", path, line) from None
    except YAMLError as error:
        raise SuiteError(f"not valid YAML: {one_line(error)}", path) from None
    if not isinstance(document, CommentedMap):
        raise SuiteError("a suite is a mapping (name, seeds, data, students, arms, ...)", path, 1)
    return document


def _override(path: Path, document: CommentedMap, override: str) -> str:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SuiteError(f"--set {override}: write KEY=VALUE", hint="for example --set recipes.default.epochs=5")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise SuiteError(f"--set {override}: the value is not valid YAML") from None
    node: Any = document
    for part in parts[:-1]:
        if not isinstance(node, dict):
            raise SuiteError(f"--set {override}: '{part}' is not inside a mapping of {path}")
        if not isinstance(node.get(part), dict):
            node[part] = CommentedMap()
        node = node[part]
    if not isinstance(node, dict):
        raise SuiteError(f"--set {override}: '{parts[-1]}' is not inside a mapping of {path}")
    node[parts[-1]] = value
    return ".".join(parts)


def _plain(node: Any) -> Any:
    """Built-in types only, without ruamel's subclasses, for pydantic."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _real_path(document: Any, loc: Loc) -> list[str | int]:
    """The parts of a location that exist in the file; pydantic adds names of union members and own fields to it."""
    found: list[str | int] = []
    node = document
    for part in loc:
        if (isinstance(node, CommentedMap) and part in node) or (
            isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        elif isinstance(node, CommentedMap) and isinstance(part, int) and part < len(node):
            # A mapping of components is validated as a list: item i is the i-th key.
            part = list(node)[part]
            node = node[part]
        else:
            continue
        found.append(part)
    return found


def _line(document: Any, loc: Loc) -> int | None:
    line = None
    node = document
    for part in _real_path(document, loc):
        position = getattr(node, "lc", None)
        try:
            if isinstance(node, CommentedMap) and position is not None:
                line = position.key(part)[0] + 1
            elif isinstance(node, CommentedSeq) and position is not None:
                line = position.item(part)[0] + 1
        except KeyError:  # put there by --set: the nearest line that the file has
            pass
        node = node[part]
    return line


def _error_at(
    path: Path, document: Any, overrides: Sequence[str], problem: str, loc: Loc, hint: str = ""
) -> SuiteError:
    name = ".".join(str(part) for part in _real_path(document, loc))
    for key in overrides:
        if name == key or name.startswith(f"{key}."):
            return SuiteError(f"--set {key}: {problem}", hint=hint)
    return SuiteError(problem, path, _line(document, loc), hint)
