"""A YAML file, a text or a dict becomes a `Suite`; every error names the place and a remedy."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from benchbench.errors import SuiteError, did_you_mean, is_unicode, one_line, printable, quoted
from benchbench.suite.document import TEXT, Loc, Override, SuiteDocument, dotted, key_of
from benchbench.suite.dotted import join_key, split_key, split_setting
from benchbench.suite.extends import KEY, LABELLED, with_base
from benchbench.suite.places import UnsetVariableError, resolved
from benchbench.suite.schema import Suite
from benchbench.suite.yaml_text import MOST_LEVELS, MOST_VALUES, parse, parse_value, read_text

LARGEST = 2**64  # of whole numbers, which JSON and seeds take
OWN_KEY = "x-"  # beginning of keys at the top that are the author's own: a place for anchors


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
        return _suite(replace(self.source, root=copy.deepcopy(self.source.root)), overrides)

    def error(self, problem: str, loc: Loc, hint: str = "") -> SuiteError:
        """An error at a part of the suite."""
        return self.source.error(problem, loc, hint)

    def resolve(self, path: Path, loc: Loc = ()) -> Path:
        """A path at some part of the suite, relative to the file that it stands in, else to the current directory.

        Raises:
            SuiteError: it names an environment variable that is not set, or is no UTF-8, which no spec can hold.
        """
        file = self.source.file_of(loc)
        try:
            place = resolved(path, file.parent if file else Path())
        except UnsetVariableError as error:
            raise self.error(str(error), loc) from None
        if not is_unicode(str(place)):
            raise self.error(f"the name of {printable(str(place))} is no UTF-8", loc, "rename it")
        return place

    def plugin_files(self) -> list[Path]:
        """The files of `plugins:`.

        Raises:
            SuiteError: one is not there.
        """
        paths = [self.resolve(Path(name), ["plugins", index]) for index, name in enumerate(self.suite.plugins)]
        for index, path in enumerate(paths):
            if not is_file(path):
                problem = f"plugin file {quoted(self.suite.plugins[index])} does not exist"
                raise self.error(problem, ["plugins", index])
        return paths


def load_suite(path: Path, overrides: Sequence[str | Override] = ()) -> SuiteFile:
    """Reads a suite file.

    Args:
        path: the YAML file (YAML 1.2).
        overrides: `dotted.key=value` each, the value in YAML; or with the value as it is.

    Raises:
        SuiteError: anything in it is wrong; one line with file, line and what to do.
    """
    return _suite(with_base(path, parse(read_text(path), path)), overrides)


def parse_suite(text: str, overrides: Sequence[str | Override] = ()) -> SuiteFile:
    """Reads a suite from YAML text.

    Raises:
        SuiteError: anything in it is wrong; one line with its line and what to do.
    """
    return _suite(with_base(None, parse(text, TEXT)), overrides)


def build_suite(content: Mapping[str, object], overrides: Sequence[str | Override] = ()) -> SuiteFile:
    """Makes a suite of a dict with the keys of a suite file.

    Raises:
        SuiteError: anything in it is wrong; one line with the keys that lead there and what to do.
    """
    try:
        return _suite(with_base(None, _commented(content)), overrides)
    except RecursionError:
        raise SuiteError("the suite contains itself, or is nested too deeply") from None


def _suite(document: SuiteDocument, overrides: Sequence[str | Override]) -> SuiteFile:
    """The suite of a parsed document, which is changed."""
    root = document.root
    added = [parse_override(each) if isinstance(each, str) else each for each in overrides]
    for each in added:
        _apply(each, root, document.path)
    document = replace(document, overrides=[*document.overrides, *added])
    if KEY in root:
        raise document.error(f"{KEY} is read from the file alone", [KEY], "write it there")
    _check_size(document)
    content = _plain(root, document)
    assert isinstance(content, dict)
    content = {key: value for key, value in content.items() if not key.startswith(OWN_KEY)}
    try:
        return SuiteFile(document, Suite.model_validate(content))
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


def _check_size(document: SuiteDocument) -> None:
    """Refuses a document that would grow beyond measure once its aliases are written out.

    Raises:
        SuiteError: at the part of the top level that does.
    """
    left = MOST_VALUES
    for key, part in document.root.items():
        nodes: list[tuple[object, int]] = [(part, 2)]
        while nodes:
            node, level = nodes.pop()
            children = list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, list) else []
            left -= len(children)
            if left < 0:
                problem = f"more than {MOST_VALUES:,} values, aliases written out"
                raise document.error(problem, [str(key)], "split the suite")
            if children and level > MOST_LEVELS:
                raise document.error(
                    f"more than {MOST_LEVELS} levels of nesting, or one that contains itself", [str(key)]
                )
            nodes += [(child, level + 1) for child in children]


def parse_override(text: str) -> Override:
    """Reads `dotted.key=value`.

    Raises:
        SuiteError: it is not of that form, or the value is not valid YAML.
    """
    key, value = split_setting(text)
    if value is None or not all(split_key(key)):
        raise SuiteError(f"--set {quoted(text)}: write KEY=VALUE", hint="for example --set recipes.default.epochs=5")
    try:
        return Override(key, parse_value(value), text=text)
    except SuiteError as error:
        reason = "the value is not valid YAML" if error.problem.startswith("not valid YAML") else error.problem
        raise SuiteError(f"--set {quoted(text)}: {reason}", hint=error.hint) from None


def _apply(override: Override, root: CommentedMap, path: Path | None) -> None:
    """Replaces one part of a document."""
    parts = override.parts
    node = root
    for depth, name in enumerate(parts[:-1], start=1):
        part = key_of(node, name)
        if part not in node and (label := _label_with_dots(node, parts[depth - 1 :])):
            hint = f"write the dots of a label with a backslash: {join_key([*parts[: depth - 1], label])}"
            raise SuiteError(f"{override.place}: there is no '{quoted(name)}'", hint=hint)
        if node.get(part) is None:
            node[part] = CommentedMap()
        elif not isinstance(node[part], dict):
            whole = dotted(parts[:depth])
            value = "[value, value]" if isinstance(node[part], list) else "{key: value}"
            raise SuiteError(
                f"{override.place}: '{whole}' is not a mapping in {path or 'the suite'}",
                hint=f"set the whole: {whole}={value}",
            )
        # An alias is the same object as its anchor, and must not change with it.
        node[part] = copy.deepcopy(node[part])
        node = node[part]
    last = key_of(node, parts[-1])
    if override.value is None and len(parts) == 2 and parts[0] in LABELLED:
        if last not in node:
            hint = did_you_mean(str(last), map(str, node))
            raise SuiteError(f"{override.place}: there is no '{quoted(str(last))}' to take out", hint=hint)
        del node[last]
        return
    node[last] = _commented(override.value)


def _label_with_dots(mapping: CommentedMap, parts: Sequence[str]) -> str | None:
    """The key of a mapping that the parts of a dotted key may mean, had its dots not parted it."""
    rest = ".".join(parts)
    return next((key for key in map(str, mapping) if "." in key and f"{rest}.".startswith(f"{key}.")), None)


def is_file(path: Path) -> bool:
    """True for a file; false too for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _plain(node: object, document: SuiteDocument, loc: Loc = ()) -> JsonValue:
    """Built-in types only, without ruamel's subclasses, for pydantic.

    Raises:
        SuiteError: a value that JSON, and so a key, cannot hold: a tag, a date, bytes, a set, .inf or .nan.
    """
    name = dotted(loc)
    if isinstance(node, float) and not math.isfinite(node):
        raise document.error(f"{name}: a number must be finite (given: {node})", loc)
    if isinstance(node, int) and abs(node) >= LARGEST:
        raise document.error(f"{name}: a whole number must be below 2^64", loc)
    if isinstance(node, str):
        _require_unicode(node, document, loc)
    if getattr(getattr(node, "tag", None), "value", None) is None:
        if isinstance(node, dict):
            return {name: _plain(node[key], document, [*loc, name]) for key, name in _keys(node, document, loc)}
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


def _require_unicode(text: str, document: SuiteDocument, loc: Loc) -> None:
    if not is_unicode(text):
        problem = f"{dotted(loc)}: {quoted(ascii(text))} has half a character; write the text anew"
        raise document.error(problem.removeprefix(": "), loc)


def _keys(node: Mapping[object, object], document: SuiteDocument, loc: Loc) -> list[tuple[object, str]]:
    """The keys of a mapping, each as it is and as a text.

    Raises:
        SuiteError: one is no text or number, or two are the same text.
    """
    names: dict[str, object] = {}
    for key in node:
        if isinstance(key, str):
            _require_unicode(key, document, loc)
        if isinstance(key, Sequence | Mapping) and not isinstance(key, str):
            raise document.error(f"a key is a text, and not {quoted(repr(key))}", loc)
        if str(key) in names:
            raise document.error(f"duplicate key '{quoted(str(key))}'", [*loc, str(key)], "keep one of them")
        names[str(key)] = key
    return [(key, name) for name, key in names.items()]
