"""A YAML file, a text or a dict becomes a `Suite`; every error names the place and a remedy."""

from __future__ import annotations

import copy
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from benchbench.errors import SuiteError, one_line
from benchbench.suite.document import TEXT, Loc, Override, SuiteDocument, key_of
from benchbench.suite.schema import Suite

MOST_NODES = 100_000


@dataclass(frozen=True)
class SuiteFile:
    """A suite and the document that it comes from.

    Attributes:
        source: the parsed document.
        suite: its content, overrides applied.
    """

    source: SuiteDocument
    suite: Suite

    def __repr__(self) -> str:
        suite = self.suite
        counts = {
            "arm": len(suite.arms),
            "data set": len(suite.data),
            "student": len(suite.students),
            "seed": len(suite.seeds),
        }
        parts = ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items())
        return f"<suite {one_line(suite.name)[:80]}: {parts}{f'; {self.path}' if self.path else ''}>"

    @property
    def path(self) -> Path | None:
        """The file; None for a suite that is a text or a dict."""
        return self.source.path

    @property
    def folder(self) -> Path:
        """The folder that paths in the suite are relative to: the file's, else the current one."""
        return self.path.parent if self.path else Path()

    def replace(self, overrides: Sequence[str | Override]) -> SuiteFile:
        """The suite with other values of some parts; `overrides` as in `load_suite`.

        Raises:
            SuiteError: a value that cannot be.
        """
        root = copy.deepcopy(self.source.root)
        return _suite(self.path, root, overrides, self.source.overrides)

    def error(self, problem: str, loc: Loc, hint: str = "") -> SuiteError:
        """An error at a part of the suite."""
        return self.source.error(problem, loc, hint)

    def resolve(self, path: Path) -> Path:
        """A path as a suite means it: relative to the suite file, else to the current directory."""
        beside = self.folder / path.expanduser()
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


def load_suite(path: Path, overrides: Sequence[str | Override] = ()) -> SuiteFile:
    """Reads a suite file.

    Args:
        path: the YAML file (YAML 1.2).
        overrides: `dotted.key=value` each, the value in YAML; or with the value as it is.

    Raises:
        SuiteError: anything in it is wrong; one line with file, line and what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SuiteError(f"suite file {path} does not exist", hint="give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"cannot read suite file {path} ({one_line(error)})") from None
    return _suite(path, _parse(text, path), overrides)


def parse_suite(text: str, overrides: Sequence[str | Override] = ()) -> SuiteFile:
    """Reads a suite from YAML text.

    Raises:
        SuiteError: anything in it is wrong; one line with its line and what to do.
    """
    return _suite(None, _parse(text, TEXT), overrides)


def build_suite(content: Mapping[str, object], overrides: Sequence[str | Override] = ()) -> SuiteFile:
    """Makes a suite of a dict with the keys of a suite file.

    Raises:
        SuiteError: anything in it is wrong; one line with the keys that lead there and what to do.
    """
    try:
        return _suite(None, _commented(content), overrides)
    except RecursionError:
        raise SuiteError("the suite contains itself, or is nested too deeply") from None


def _suite(
    path: Path | None, root: CommentedMap, overrides: Sequence[str | Override], earlier: Sequence[Override] = ()
) -> SuiteFile:
    """The suite of a parsed document, which `earlier` overrides have changed already."""
    added = [parse_override(each) if isinstance(each, str) else each for each in overrides]
    for each in added:
        _apply(each, root, path)
    document = SuiteDocument(path, root, [*earlier, *added])
    _check_size(root, path)
    try:
        return SuiteFile(document, Suite.model_validate(_plain(root, document)))
    except ValidationError as error:
        raise document.explain(error) from None


def _commented(value: Any) -> Any:
    """A value of Python in the classes of a parsed document; what YAML does not have is left, to be refused."""
    if isinstance(value, Mapping):
        return CommentedMap({key: _commented(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return CommentedSeq([_commented(item) for item in value])
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool | int | float):  # one of NumPy's
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def _check_size(root: CommentedMap, path: Path | None) -> None:
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


def _parse(text: str, path: Path | str) -> CommentedMap:
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


def parse_override(text: str) -> Override:
    """Reads `dotted.key=value`.

    Raises:
        SuiteError: it is not of that form, or the value is not valid YAML.
    """
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SuiteError(f"--set {text}: write KEY=VALUE", hint="for example --set recipes.default.epochs=5")
    try:
        return Override(".".join(parts), YAML(typ="safe", pure=True).load(value), text=text)
    except (YAMLError, ValueError, RecursionError):
        raise SuiteError(f"--set {text[:200]}: the value is not valid YAML") from None


def _apply(override: Override, root: CommentedMap, path: Path | None) -> None:
    """Replaces one part of a document."""
    parts = override.key.split(".")
    node = root
    for depth, name in enumerate(parts[:-1], start=1):
        part = key_of(node, name)
        if node.get(part) is None:
            node[part] = CommentedMap()
        elif not isinstance(node[part], dict):
            whole = ".".join(parts[:depth])
            raise SuiteError(
                f"{override.given_by} {override.key}: '{whole}' is not a mapping in {path or 'the suite'}",
                hint=f"set the whole: {whole}={{key: value}}",
            )
        # An alias is the same object as its anchor, and must not change with it.
        node[part] = copy.deepcopy(node[part])
        node = node[part]
    node[key_of(node, parts[-1])] = _commented(override.value)


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
    if not document.has_lines:
        problem = f"{name}: a suite holds text, numbers, lists and mappings, and no {type(node).__name__}"
        raise document.error(problem, loc)
    problem = f"{name}: no tags, dates, sets or bytes here"
    raise document.error(problem, loc, "take the tag out, or put the value in quotes")
