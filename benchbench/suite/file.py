"""A YAML file becomes a `Suite`; every error names the file, the line, and a remedy."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from benchbench.errors import SuiteError, one_line
from benchbench.suite.document import Loc, SuiteDocument, key_of
from benchbench.suite.schema import Suite

MOST_NODES = 100_000


@dataclass(frozen=True)
class SuiteFile:
    """A suite and the file that it comes from.

    Attributes:
        source: the parsed file.
        suite: its content, overrides applied.
    """

    source: SuiteDocument
    suite: Suite

    @property
    def path(self) -> Path:
        return self.source.path

    def error(self, problem: str, loc: Loc, hint: str = "") -> SuiteError:
        """An error at a part of the suite."""
        return self.source.error(problem, loc, hint)

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
    root = _parse(path)
    document = SuiteDocument(path, root, [_override(path, root, override) for override in overrides])
    _check_size(root, path)
    try:
        return SuiteFile(document, Suite.model_validate(_plain(root, document)))
    except ValidationError as error:
        raise document.explain(error) from None


def _check_size(root: CommentedMap, path: Path) -> None:
    """Refuses a document that would grow beyond measure once its aliases are written out."""
    left = MOST_NODES
    nodes: list[object] = [root]
    while nodes:
        node = nodes.pop()
        children = list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, list) else []
        left -= len(children)
        if left < 0:
            raise SuiteError(f"more than {MOST_NODES:,} values, aliases written out", path, hint="split the suite")
        nodes += children


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


def _override(path: Path, root: CommentedMap, override: str) -> str:
    """Applies `dotted.key=value`, and gives the dotted key."""
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SuiteError(f"--set {override}: write KEY=VALUE", hint="for example --set recipes.default.epochs=5")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError):
        raise SuiteError(f"--set {override[:200]}: the value is not valid YAML") from None
    node = root
    for depth, name in enumerate(parts[:-1], start=1):
        part = key_of(node, name)
        if node.get(part) is None:
            node[part] = CommentedMap()
        elif not isinstance(node[part], dict):
            whole = ".".join(parts[:depth])
            raise SuiteError(
                f"--set {override}: '{whole}' is not a mapping in {path}", hint=f"set the whole: {whole}={{key: value}}"
            )
        # An alias is the same object as its anchor, and must not change with it.
        node[part] = copy.deepcopy(node[part])
        node = node[part]
    node[key_of(node, parts[-1])] = value
    return ".".join(parts)


def _plain(node: object, document: SuiteDocument, loc: Loc = ()) -> JsonValue:
    """Built-in types only, without ruamel's subclasses, for pydantic.

    Raises:
        SuiteError: a value that JSON, and so a key, cannot hold: a tag, a date, bytes, a set, .inf or .nan.
    """
    name = ".".join(str(part) for part in loc)
    if isinstance(node, float) and not math.isfinite(node):
        raise document.error(f"{name}: a number must be finite (given: {node})", loc)
    if getattr(getattr(node, "tag", None), "value", None) is None:
        if isinstance(node, dict):
            items = ((str(key), value) for key, value in node.items())
            return {key: _plain(value, document, [*loc, key]) for key, value in items}
        if isinstance(node, list):
            return [_plain(value, document, [*loc, index]) for index, value in enumerate(node)]
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        if node is None:
            return None
    problem = f"{name}: no tags, dates, sets or bytes here"
    raise document.error(problem, loc, "take the tag out, or put the value in quotes")
