"""A YAML file becomes a `Suite`; every error names the file, the line, and what would be right."""

from __future__ import annotations

import copy
import math
import re
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
from benchbench.suite.fields import PATTERNS_IN_WORDS
from benchbench.suite.schema import Suite

Loc = Sequence[str | int]
MOST_NODES = 100_000


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

    def plugin_files(self) -> list[Path]:
        """The files of `plugins:`.

        Raises:
            SuiteError: one is not there.
        """
        paths = [self.resolve(Path(name)) for name in self.suite.plugins]
        for index, path in enumerate(paths):
            if not path.is_file():
                raise self.error(f"plugin file {self.suite.plugins[index]} does not exist", ["plugins", index])
        return paths


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
    _check_size(document, path)
    try:
        return SuiteFile(path, Suite.model_validate(_plain(document, path, document, keys)), document, keys)
    except ValidationError as error:
        raise explain(error, path, document, keys) from None


def _check_size(document: Any, path: Path) -> None:
    """Refuses what would grow beyond measure once its aliases are written out."""
    left, waiting = MOST_NODES, [document]
    while waiting:
        node = waiting.pop()
        children = list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, list) else []
        left -= len(children)
        if left < 0:
            raise SuiteError(f"more than {MOST_NODES:,} values, aliases written out", path, hint="split the suite")
        waiting += children


# Pydantic speaks of dictionaries and instances; the one who writes a suite has neither.
_PLAIN_WORDS = {
    "model_type": "write a mapping, `{key: value}`",
    "dict_type": "write a mapping, `{key: value}`",
    "list_type": "write a list, `[item, item]`",
}


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
        words = _PLAIN_WORDS.get(problem["type"]) or PATTERNS_IN_WORDS.get(str(context.get("pattern")))
        message = words or message[0].lower() + message[1:]
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
        # Its own words quote both values in full, which can be the whole file.
        key = re.match('found duplicate key "(.*?)" with value', str(error.problem))
        problem = f"duplicate key '{one_line(key.group(1))}'" if key else one_line(str(error.problem))
        raise SuiteError(problem, path, line, "keep one of them") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SuiteError(f"not valid YAML: {one_line(str(error.problem or error.context))}", path, line) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise SuiteError(f"not valid YAML: {one_line(error)[:200]}", path) from None
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
    except (YAMLError, ValueError, RecursionError):
        raise SuiteError(f"--set {override[:200]}: the value is not valid YAML") from None
    node: Any = document
    for depth, part in enumerate(parts[:-1], start=1):
        part = _key(node, part)
        if node.get(part) is None:
            node[part] = CommentedMap()
        elif not isinstance(node[part], dict):
            whole = ".".join(parts[:depth])
            raise SuiteError(
                f"--set {override}: '{whole}' is not a mapping in {path}", hint=f"set the whole: {whole}={{key: value}}"
            )
        # An alias is the same object as its anchor; what is set here is set nowhere else.
        node[part] = copy.deepcopy(node[part])
        node = node[part]
    node[_key(node, parts[-1])] = value
    return ".".join(parts)


def _key(node: Any, part: str) -> Any:
    """A mapping's key as the file has it: `1` there is a number, and here a text like every other."""
    return next((key for key in node if str(key) == part), part)


def _plain(node: Any, path: Path, document: Any, overrides: Sequence[str], loc: Loc = ()) -> Any:
    """Built-in types only, without ruamel's subclasses, for pydantic.

    Raises:
        SuiteError: a value that JSON, and so a key, cannot hold: a tag, a date, bytes, a set, .inf or .nan.
    """
    name = ".".join(str(part) for part in loc)
    if isinstance(node, float) and not math.isfinite(node):
        raise _error_at(path, document, overrides, f"{name}: a number must be finite (given: {node})", loc)
    if getattr(getattr(node, "tag", None), "value", None) is None:
        if isinstance(node, dict):
            items = ((str(key), value) for key, value in node.items())
            return {key: _plain(value, path, document, overrides, [*loc, key]) for key, value in items}
        if isinstance(node, list):
            return [_plain(value, path, document, overrides, [*loc, index]) for index, value in enumerate(node)]
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        if node is None:
            return None
    problem = f"{name}: no tags, dates, sets or bytes here"
    raise _error_at(path, document, overrides, problem, loc, "take the tag out, or put the value in quotes")


def _real_path(document: Any, loc: Loc) -> list[str | int]:
    """The parts of a location that exist in the file; pydantic adds names of union members and own fields to it."""
    found: list[str | int] = []
    node = document
    for part in loc:
        if isinstance(node, CommentedMap) and isinstance(part, str):
            part = _key(node, part)
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


def _line(document: Any, found: Loc) -> tuple[int | None, bool]:
    """The line of a real path, and whether the file has it; else it is the nearest line above."""
    line, written = None, True
    node = document
    for part in found:
        position = getattr(node, "lc", None)
        try:
            if isinstance(node, CommentedMap) and position is not None:
                line = position.key(part)[0] + 1
            elif isinstance(node, CommentedSeq) and position is not None:
                line = position.item(part)[0] + 1
        except (KeyError, TypeError):  # put there by --set; a mapping made for it has no positions at all
            written = False
        node = node[part]
    return line, written


def _error_at(
    path: Path, document: Any, overrides: Sequence[str], problem: str, loc: Loc, hint: str = ""
) -> SuiteError:
    found = _real_path(document, loc)
    name = ".".join(str(part) for part in found)
    line, written = _line(document, found)
    for key in overrides:
        # What was set, something in it, or a mapping that is there only because something in it was set.
        if name == key or name.startswith(f"{key}.") or (not written and key.startswith(f"{name}.")):
            return SuiteError(f"--set {key}: {problem}", hint=hint)
    changed = [key for key in overrides if found and key.startswith(f"{name}.")]
    return SuiteError(f"{problem} (with --set {', '.join(changed)})" if changed else problem, path, line, hint)
