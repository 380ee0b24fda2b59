"""A parsed suite file with its line numbers, and errors that name file, line and remedy."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from benchbench.errors import SuiteError, one_line, quoted
from benchbench.suite.dotted import join_key, split_key
from benchbench.suite.fields import PATTERNS_IN_WORDS

Loc = Sequence[str | int]
# The file that a part comes from, with all in it that has no place of its own, by the keys that lead to it; None for
# the suite itself.
Places = dict[tuple[str, ...], Path | None]

# Pydantic speaks of dictionaries and instances; the author of a suite has neither.
_PLAIN_WORDS = {
    "model_type": "write a mapping, `{key: value}`",
    "dict_type": "write a mapping, `{key: value}`",
    "list_type": "write a list, `[item, item]`",
    "tuple_type": "write a list, `[item, item]`",
}
MOST_MESSAGE = 300  # characters of a message of pydantic, which may quote a value

# In place of a file's name, where a suite is a text.
TEXT = "YAML text"


@dataclass(frozen=True)
class Override:
    """A part of a suite that has another value than in its document.

    Attributes:
        key: the dotted key of the part; a backslash stands before a dot of a label.
        value: as YAML or JSON have it.
        given_by: the option or argument that it comes from, for errors.
        text: `key=value` as it was written; None where it was not.
        shown: how errors name it; None for the option and the key.
    """

    key: str
    value: object
    given_by: str = "--set"
    text: str | None = None
    shown: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The keys that lead to the part."""
        return split_key(self.key)

    @property
    def place(self) -> str:
        """For errors: the option or argument, and the key."""
        return self.shown or f"{self.given_by} {quoted(self.key)}"

    @property
    def argument(self) -> str:
        """Its form for `--set`: `key=value`, the value in YAML."""
        return self.text or f"{self.key}={json.dumps(self.value, default=_json_value)}"


def _json_value(value: object) -> int | float | str:
    """Value of a kind that JSON does not have: a number of NumPy as one of Python, all else as text."""
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else str(value)


def overrides_of(changes: str | Mapping[str, Any] | Sequence[str]) -> list[str | Override]:
    """Overrides as functions of Python take them: values by dotted key, or texts as `--set` takes them."""
    if isinstance(changes, str):
        return [changes]
    if isinstance(changes, Mapping):
        return [Override(str(key), value, "override") for key, value in changes.items()]
    return list(changes)


@dataclass(frozen=True)
class SuiteDocument:
    """A parsed suite: of a file, a text or a dict.

    Attributes:
        path: the file; None where there is none.
        root: its content; that of a file and of a text knows line numbers.
        overrides: parts that are replaced in it.
        places: of the parts that come from a suite which it extends.
    """

    path: Path | None
    root: CommentedMap
    overrides: list[Override] = field(default_factory=list)
    places: Places = field(default_factory=dict)

    @property
    def has_lines(self) -> bool:
        """False for a suite that is a dict."""
        return self.root.lc.line is not None

    def error(self, problem: str, loc: Loc, hint: str = "") -> SuiteError:
        """An error at a part of the suite: with its line, or with the keys that lead to it."""
        parts = self._parts(loc)
        path, name = tuple(str(part) for part in parts), dotted(parts)
        file, line, is_written = self._line(parts)
        for each in reversed(self.overrides):  # of two for one part the later counts
            # The part itself, a part of it, or a mapping that is there only because something in it was set.
            if path[: len(each.parts)] == each.parts or (not is_written and _is_part(each.parts, path)):
                return SuiteError(f"{each.place}: {problem}", hint=hint)
        changed = [each for each in self.overrides if parts and _is_part(each.parts, path)]
        if line is None and name and not problem.startswith(name):
            problem = f"{name}: {problem}"
        if changed:
            problem = f"{problem} (with {changed[0].given_by} {', '.join(quoted(each.key) for each in changed)})"
        own = self.path or (TEXT if self.has_lines else None)
        return SuiteError(problem, file or own, line, hint)

    def explain(self, error: ValidationError, prefix: Loc = ()) -> SuiteError:
        """The first problem of a validation in one line; `prefix` is the place of the validated part."""
        problem = error.errors(include_url=False)[0]
        loc: list[str | int] = [*prefix, *problem["loc"]]
        context = problem.get("ctx", {})
        message = str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "unknown_key":
            loc.append(str(context["key"]))
        elif problem["type"] == "missing":
            message = f"'{problem['loc'][-1]}' is missing"
            loc = loc[:-1]
        else:
            words = _PLAIN_WORDS.get(problem["type"]) or PATTERNS_IN_WORDS.get(str(context.get("pattern")))
            message = words or message[:1].lower() + one_line(message)[1:MOST_MESSAGE]
            value = problem.get("input")
            if isinstance(value, str | int | float | bool | None):
                message += f" (given: {quoted(repr(value))})"
        name = dotted(self._parts(loc))
        return self.error(f"{name}: {message}" if name else message, loc)

    def _parts(self, loc: Loc) -> list[str | int]:
        """The parts of a place that exist in the file; pydantic adds names of union members and own fields to it."""
        parts: list[str | int] = []
        node = self.root
        for part in loc:
            if isinstance(node, CommentedMap) and isinstance(part, str):
                part = key_of(node, part)
            if (isinstance(node, CommentedMap) and part in node) or (
                isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node)
            ):
                node = node[part]
            elif isinstance(node, CommentedMap) and isinstance(part, int) and part < len(node):
                # A mapping of components is validated as a list: item i is the i-th key.
                part = list(node)[part]
                node = node[part]
            elif isinstance(node, CommentedSeq) and (index := _index_of(node, part)) is not None:
                # A list of names and one-key mappings is validated as one mapping.
                parts.append(index)
                node = node[index]
                if not isinstance(node, CommentedMap):
                    continue
                node = node[part]
            else:
                continue
            parts.append(part)
        return parts

    def file_of(self, loc: Loc) -> Path | None:
        """The file that a part of the suite stands in; None where it is a text or a dict."""
        keys = tuple(str(part) for part in self._parts(loc))
        places = [self.places[keys[:end]] for end in range(len(keys), 0, -1) if keys[:end] in self.places]
        return (places[0] if places else None) or self.path

    def _line(self, parts: Loc) -> tuple[Path | None, int | None, bool]:
        """The file that is extended, if it is in one, and line of a place, and whether the file has the place itself.

        Where it does not, the nearest line above it.
        """
        file: Path | None = None
        line, is_written = (1 if self.has_lines else None), True
        node, current = self.root, file
        for end, part in enumerate(parts, start=1):
            position = getattr(node, "lc", None)
            current = self.places.get(tuple(map(str, parts[:end])), current)
            try:
                if current is None and not self.has_lines:
                    file, line = None, None
                elif isinstance(node, CommentedMap) and position is not None:
                    file, line = current, position.key(part)[0] + 1
                elif isinstance(node, CommentedSeq) and position is not None:
                    file, line = current, position.item(part)[0] + 1
            except (KeyError, TypeError):  # --set put it there; a mapping made for it has no positions at all
                is_written = False
            node = node[part]
        return file, line, is_written


def _is_part(path: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    """True where a place lies inside another."""
    return len(path) > len(whole) and path[: len(whole)] == whole


def _index_of(items: CommentedSeq, name: str | int) -> int | None:
    """The item of a list that is a name, or the mapping of that one key."""
    matches = (
        index for index, item in enumerate(items) if item == name or (isinstance(item, dict) and [*item] == [name])
    )
    return next(matches, None)


def dotted(parts: Loc) -> str:
    """A place for errors, as `--set` takes it; of overlong keys the beginning and the end."""
    # Quoted last: the backslash of an escape (`\x1b`) is no part of the key.
    return ".".join(quoted(join_key([part])) for part in parts)


def key_of(mapping: CommentedMap, part: str) -> str | int:
    """A mapping's key as a document has it: `1` of a dict may be a number, and in a dotted key is a text."""
    key: str | int = next((key for key in mapping if str(key) == part), part)
    return key
