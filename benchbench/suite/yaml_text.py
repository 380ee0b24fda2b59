"""YAML text becomes a document with line numbers; what is no suite is refused before it takes time or memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent
from ruamel.yaml.nodes import MappingNode

from benchbench.errors import SuiteError, one_line, quoted

# Reading so much takes seconds.
MOST_CHARACTERS, MOST_VALUES, MOST_LEVELS = 200_000, 20_000, 30
# Neither printable nor white space, as YAML 1.2 has it.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_PLAIN_WORDS = {
    "but found another document": "a suite is one document; take out what follows `---`",
    "while scanning a directive": "a suite takes no directives",
}


def name_text(name: str) -> str:
    """A suite's name as YAML: in quotes where it would be read as a number, a date or a word of its own, as 2024 is."""
    is_word = name[:1].isalpha() and name.lower() not in ("true", "false", "null")
    return name if is_word else json.dumps(name)


class _LimitError(MarkedYAMLError):
    """A document that is YAML and no suite."""


class _SuiteComposer(Composer):
    """Composes nodes with fewer surprises: keys are texts as they are written, and limits are kept.

    Attributes:
        line: 1-based line of the last node.
        levels, values: of nesting, and of nodes so far.
    """

    line, levels, values = 1, 0, 0
    warn_double_anchors = False

    def __init__(self, loader: Any = None):
        super().__init__(loader=loader)
        self.warn_double_anchors = False

    def compose_document(self) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            raise _LimitError(problem="a suite takes no directives", problem_mark=event.start_mark)
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self.line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            return super().compose_node(parent, index)
        self.values += 1
        if self.values > MOST_VALUES:
            raise _LimitError(
                problem=f"more than {MOST_VALUES:,} values; split the suite", problem_mark=event.start_mark
            )
        if self.levels == MOST_LEVELS:
            raise _LimitError(problem=f"more than {MOST_LEVELS} levels of nesting", problem_mark=event.start_mark)
        plain = getattr(event, "implicit", None) == (True, False) and event.tag is None
        if plain and isinstance(parent, MappingNode) and index is None:
            # 012, 1e3, true and 2020-01-01 are labels like any others.
            event.implicit = (event.value == "<<", True)
        elif plain and _LEADING_ZERO.fullmatch(event.value):
            problem = f"'{quoted(event.value)}' begins with 0; write the number without it, or a text in quotes"
            raise _LimitError(problem=problem, problem_mark=event.start_mark)
        self.levels += 1
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node


def read_text(path: Path) -> str:
    """The text of a suite file.

    Raises:
        SuiteError: it cannot be read, or is not UTF-8.
    """
    try:
        if path.stat().st_size > 4 * MOST_CHARACTERS:
            raise _too_long(path)
        with path.open("rb") as stream:  # of a device or a pipe the size is not known
            content = stream.read(4 * MOST_CHARACTERS + 1)
        if len(content) > 4 * MOST_CHARACTERS:
            raise _too_long(path)
    except FileNotFoundError:
        raise SuiteError(f"suite file {path} does not exist", hint="give the path of a YAML file") from None
    except (OSError, ValueError) as error:
        raise SuiteError(f"cannot read suite file {path} ({one_line(error)})") from None
    if encoding := _ENCODINGS.get(content[:2]):
        raise SuiteError(f"cannot read suite file {path}: it is {encoding}", path, 1, "save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"cannot read suite file {path}: byte {content[error.start]:#04x} is not UTF-8"
        raise SuiteError(problem, path, line, "save it as UTF-8") from None


def parse(text: str, path: Path | str) -> CommentedMap:
    """The document of a suite's text.

    Args:
        text: YAML 1.2.
        path: for errors.

    Raises:
        SuiteError: it is no YAML, no mapping, or larger than any suite; with the line.
    """
    if len(text) > MOST_CHARACTERS:
        raise _too_long(path)
    if unprintable := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, unprintable.start()) + 1
        problem = f"not valid YAML: character U+{ord(unprintable[0]):04X}"
        raise SuiteError(problem, path, line, "take it out; a suite is plain text")
    document = _load(YAML(), text, path)
    if not isinstance(document, CommentedMap):
        raise SuiteError("a suite is a mapping (name, seeds, data, students, arms, ...)", path, 1)
    return document


def parse_value(text: str) -> Any:
    """The value of an override.

    Raises:
        SuiteError: it is no YAML, or larger than any suite.
    """
    if len(text) > MOST_CHARACTERS:
        raise _too_long("the value")
    return _load(YAML(typ="safe", pure=True), text, "the value")


def _load(yaml: YAML, text: str, path: Path | str) -> Any:
    yaml.Composer = _SuiteComposer
    try:
        return yaml.load(text)
    except _LimitError as error:
        raise SuiteError(str(error.problem), path, _line(error.problem_mark)) from None
    except DuplicateKeyError as error:
        # Its own words quote both values in full, which can be the whole file.
        key = re.match('found duplicate key "(.*?)" with value', str(error.problem), flags=re.DOTALL)
        problem = f"duplicate key '{quoted(key[1])}'" if key else "duplicate key"
        raise SuiteError(problem, path, _line(error.problem_mark), "keep one of them") from None
    except MarkedYAMLError as error:
        words = str(error.problem or error.context)
        words = _PLAIN_WORDS.get(words, f"not valid YAML: {one_line(words)[:200]}")
        line = _line(error.problem_mark) or yaml.composer.line
        raise SuiteError(words, path, line) from None
    except YAMLError as error:
        raise SuiteError(f"not valid YAML: {one_line(error)[:200]}", path, yaml.composer.line) from None
    except Exception as error:  # the parser has errors of every class for text that it did not expect
        raise SuiteError(f"not valid YAML: {one_line(error)[:200]}", path, yaml.composer.line) from None


def _line(mark: StringMark | None) -> int | None:
    return mark.line + 1 if mark else None


def _too_long(path: Path | str) -> SuiteError:
    return SuiteError(f"longer than {MOST_CHARACTERS:,} characters", path, 1, "split the suite")
