"""Python source as tokens that neither comments, docstrings nor layout change, the same under every Python version.

Nothing of Python's own parser is used: its trees and tokens differ from version to version. Left out are comments,
docstrings and other strings that stand alone, `pass`, `...`, `if TYPE_CHECKING:` blocks, blank lines, spaces, line
joins, trailing commas, and parentheses that a formatter may add. Equal literals are equal tokens, however they are
quoted, spelled or cut into adjacent parts.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from benchbench.planning.code_brackets import plain_brackets

# A plain string whole; of an f-string the opening alone, since its fields may hold further strings.
_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\f]+|\\\n|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<string>(?i:[rub]|br|rb)?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''
        |\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))
  | (?P<fstring>(?i:[ft]|[ft]r|r[ft])(?:\"\"\"|'''|\"|'))
  | (?P<name>[^\W\d]\w*)
  | (?P<number>0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
        |(?:(?:[0-9][0-9_]*)?\.[0-9][0-9_]*|[0-9][0-9_]*\.?)(?:[eE][+-]?[0-9][0-9_]*)?[jJ]?)
  | (?P<operator>\*\*=|//=|>>=|<<=|\.\.\.|->|:=|\*\*|//|>>|<<|[-+*/%&|^@=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_COMPOUND = {
    *("async", "case", "class", "def", "elif", "else", "except", "finally", "for", "if", "try", "while", "with")
}
_NO_EFFECT = (["pass"], ["..."])
_TYPES_ONLY = (["if", "TYPE_CHECKING", ":"], ["if", "typing", ".", "TYPE_CHECKING", ":"])


@dataclass(frozen=True)
class Statement:
    """One simple statement, or the header of a compound one.

    Attributes:
        level: depth of its block.
        tokens: in order; none holds a tab or a line break.
    """

    level: int
    tokens: list[str]


def code_hash(text: str) -> str:
    """sha256 over the statements of a source text."""
    return statements_hash(statements(text))


def statements_hash(lines: list[Statement]) -> str:
    """sha256 over statements."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line.level}\t{chr(9).join(line.tokens)}\n".encode())
    return digest.hexdigest()


def statements(text: str) -> list[Statement]:
    """The statements of a source text that have an effect.

    Args:
        text: decoded, with line breaks as Python reads them (`importlib.util.decode_source`).
    """
    indents = [0]
    result: list[Statement] = []
    skipped_block: int | None = None  # indent of its header
    for indent, raw in _lines(text):
        if skipped_block is not None and indent > skipped_block:
            continue
        skipped_block = None
        tokens = plain_brackets(raw)
        if tokens in _TYPES_ONLY:
            skipped_block = indent
        elif tokens not in _NO_EFFECT and not (len(tokens) == 1 and tokens[0].startswith(("'", '"', "b'", 'b"'))):
            while indents[-1] > indent:
                indents.pop()
            if indent > indents[-1]:
                indents.append(indent)
            result.append(Statement(len(indents) - 1, tokens))
    return result


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each logical line with its indent; what follows a `:` or `;` on one line stands on lines of its own."""
    for indent, tokens in _logical_lines(text):
        end = _header_end(tokens)
        if end:
            yield indent, tokens[:end]
            indent, tokens = indent + 1, tokens[end:]
        start = 0
        for index, token in enumerate([*tokens, ";"]):
            if token == ";":
                if index > start:
                    yield indent, tokens[start:index]
                start = index + 1


def _logical_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    line = _Tokens()
    depth = indent = position = 0
    while position < len(text):
        kind, token, end = _next_token(text, position)
        if kind == "newline" and not depth:
            if tokens := line.finished():
                yield indent, tokens
            line = _Tokens()
        elif kind not in ("blank", "newline"):
            if line.empty:
                margin = text[text.rfind("\n", 0, position) + 1 : position]
                indent = len(margin.replace("\f", "").expandtabs(8))
            if isinstance(token, str):
                depth += (token in _OPENING) - (token in _CLOSING)
            line.add(token)
        position = end
    if tokens := line.finished():
        yield indent, tokens


def _header_end(tokens: list[str]) -> int:
    """Tokens of a compound statement's header, with its colon; 0 where this is none, or no more than a header."""
    if tokens[0] not in _COMPOUND:
        return 0
    depth = lambdas = 0
    for index, token in enumerate(tokens[:-1]):
        depth += (token in _OPENING) - (token in _CLOSING)
        lambdas += token == "lambda" and not depth
        if token == ":" and not depth:
            if not lambdas:
                return index + 1
            lambdas -= 1
    return 0


@dataclass(frozen=True)
class _Field:
    """A replacement field of an f-string, its expression as tokens."""

    text: str


# A string literal: text, bytes, and fields in order.
_Parts = list[str | bytes | _Field]


class _Tokens:
    """Tokens of one line; string literals that stand side by side become one."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._parts: _Parts = []

    @property
    def empty(self) -> bool:
        return not self._tokens and not self._parts

    def add(self, token: str | _Parts) -> None:
        if isinstance(token, str):
            self.finished().append(token)
        else:
            self._parts += token

    def finished(self) -> list[str]:
        """The tokens so far."""
        if self._parts:
            self._tokens.append(_literal(self._parts))
            self._parts = []
        return self._tokens


def _literal(parts: _Parts) -> str:
    merged: _Parts = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, str) and isinstance(last, str):
            merged.pop()
            part = last + part
        elif isinstance(part, bytes) and isinstance(last, bytes):
            part = last + part
            merged.pop()
        merged.append(part)
    if not any(isinstance(part, _Field) for part in merged):
        return "".join(ascii(part) for part in merged)
    return "f" + "".join(f"{{{part.text}}}" if isinstance(part, _Field) else ascii(part) for part in merged if part)


def _next_token(text: str, position: int) -> tuple[str, str | _Parts, int]:
    """Kind, canonical text (or parts of a string) and end of the token at a position."""
    match = _TOKEN.match(text, position)
    assert match is not None  # the last operator is any character
    kind, token = str(match.lastgroup), match.group()
    if kind == "string":
        return kind, [_string_value(token)], match.end()
    if kind == "fstring":
        quote = token.lstrip("rRfFtT")
        prefix = token[: -len(quote)].lower()
        parts, end = _fstring(text, match.end(), quote, "r" in prefix)
        return "string", [_Field("t"), *parts] if "t" in prefix else parts, end
    return kind, _number(token) if kind == "number" else token, match.end()


def _string_value(token: str) -> str | bytes | _Field:
    """The value of a plain literal, or its text where this Python refuses it."""
    start = re.match("[A-Za-z]*", token)
    prefix = start.group().lower() if start else ""
    width = 3 if token[len(prefix) :].startswith(('"""', "'''")) else 1
    if "b" not in prefix and ("r" in prefix or "\\" not in token):
        return token[len(prefix) + width : -width]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that is none
            value: str | bytes = ast.literal_eval(token)
            return value
    except (SyntaxError, ValueError):
        return _Field(ascii(token))


def _number(token: str) -> str:
    try:
        value = ast.literal_eval(token)
        return repr(value) if isinstance(value, int) or math.isfinite(abs(value)) else token
    except (SyntaxError, ValueError):  # too long for a decimal
        return token


def _fstring(text: str, position: int, closing: str, raw: bool) -> tuple[_Parts, int]:
    """Parts of an f-string whose body begins at a position, and the end of its closing quotes.

    `closing` is "}" for a format specification, which has the same form.
    """
    parts: _Parts = []
    start = position  # of the text before the next field

    def literal(end: int) -> str | bytes | _Field:
        body = text[start:end] if closing == "}" else text[start:end].replace("{{", "{").replace("}}", "}")
        return body if raw or "\\" not in body else _string_value(f'"""{body}"""')

    while position < len(text) and not text.startswith(closing, position):
        if closing != "}" and text.startswith(("{{", "}}"), position):
            position += 2
        elif text[position] == "{":
            parts.append(literal(position))
            field, position = _field(text, position + 1, raw)
            parts.append(field)
            start = position
        elif not raw and text.startswith("\\N{", position):
            position = text.find("}", position) + 1 or len(text)
        else:
            position += 2 if text[position] == "\\" and text[position + 1 : position + 2] not in ("{", "}") else 1
    return [*parts, literal(position)], position + len(closing)


def _field(text: str, position: int, raw: bool) -> tuple[_Field, int]:
    """The replacement field whose expression begins at a position, and the end of it."""
    start, depth, line = position, 0, _Tokens()
    while position < len(text):
        kind, token, end = _next_token(text, position)
        if not depth and token in ("}", ":", ":=", "!") and _documents_itself(line):
            line.add(ascii(text[start:position]))
        if not depth and token == "}":
            position = end
            break
        if not depth and token in (":", ":="):
            parts, position = _fstring(text, position + 1, "}", raw)
            line.add(":")
            line.add(_literal(parts))
            break
        if isinstance(token, str):
            depth += (token in _OPENING) - (token in _CLOSING)
        if kind not in ("blank", "newline"):
            line.add(token)
        position = end
    return _Field(" ".join(line.finished())), position


def _documents_itself(line: _Tokens) -> bool:
    """True for `{expression=}`, where spaces show."""
    return not line.empty and line.finished()[-1] == "="
