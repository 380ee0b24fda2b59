"""Commas and parentheses of a statement's tokens that a formatter may add or take away."""

from __future__ import annotations

from dataclasses import dataclass

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
# A bracket after one of these words groups, or makes a tuple or a list; after any other word it calls or subscripts;
# after one of the second set it may do either.
_KEYWORDS = {
    *("and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except"),
    *("finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "raise"),
    *("return", "try", "while", "with", "yield"),
}
_SOFT_KEYWORDS = {"match", "case"}
_ASSIGNMENTS = {"=", "+=", "-=", "*=", "/=", "//=", "%=", "**=", ">>=", "<<=", "&=", "|=", "^=", "@="}
# An expression between a token of the first set and one of the second is whole: nothing binds it from outside.
_BEFORE = {"", ",", ":", "->", "(", "[", "{", "else", "return", "yield", "assert", "raise", *_ASSIGNMENTS}
_AFTER = {"", ",", ":", ")", "]", "}", "for"}
# These bind a name or make a generator: their parentheses count.
_BINDING = {":=", "for", "yield"}


def plain_brackets(tokens: list[str]) -> list[str]:
    """A statement's tokens without trailing commas and needless parentheses."""
    if tokens[0] == "from":
        names = [token for token in tokens if token not in "()"]
        return names[:-1] if names[-1] == "," else names
    return _without_parentheses(_without_commas(tokens)) if "(" in tokens or "," in tokens else tokens


@dataclass
class _Bracket:
    """An open bracket.

    Attributes:
        opening: its character.
        groups, trails: whether it may group (or make a tuple or a list), and whether it may call or subscript.
        start: its index.
        inner: tokens directly in it that bear on whether it counts.
    """

    opening: str
    groups: bool
    trails: bool
    start: int
    inner: list[str]

    @property
    def comma_counts(self) -> bool:
        """True where a trailing comma may make the tuple."""
        makes_tuple = (self.opening == "(" and self.groups) or (self.opening == "[" and self.trails)
        return makes_tuple and (self.inner.count(",") == 1 or self.inner[:1] == ["lambda"])


def _bracket(before: str, opening: str, start: int) -> _Bracket:
    """The bracket that opens at the index `start`, after the token `before`."""
    is_word = before[:1].isidentifier() and before not in _KEYWORDS
    is_literal = before[:1] in ("'", '"') or before[:1].isdigit()
    trails = is_word or is_literal or before in _CLOSING
    return _Bracket(opening, not trails or before in _SOFT_KEYWORDS, trails, start, [])


def _without_commas(tokens: list[str]) -> list[str]:
    """Without commas that end a bracket or the statement, except where one makes a tuple."""
    result: list[str] = []
    whole = _Bracket("(", True, False, 0, [])
    brackets = [whole]
    lambdas = 0  # outside of brackets, whose parameters are open
    for token in tokens:
        if token in _OPENING:
            brackets.append(_bracket(result[-1] if result else "", token, len(result)))
        elif token in _CLOSING and len(brackets) > 1:
            if not brackets.pop().comma_counts and result[-1] == ",":
                result.pop()
        elif token in (",", "lambda"):
            brackets[-1].inner.append(token)
            lambdas += token == "lambda" and len(brackets) == 1
        elif token == ":" and len(brackets) == 1:
            lambdas = max(lambdas - 1, 0)
        elif token in _ASSIGNMENTS and len(brackets) == 1 and not lambdas:  # commas of the targets are others
            whole.inner.clear()
        result.append(token)
    if result[-1] == "," and not whole.comma_counts:
        result.pop()
    return result


def _without_parentheses(tokens: list[str]) -> list[str]:
    """Without parentheses that group a whole expression."""
    dropped: set[int] = set()
    brackets: list[_Bracket] = []
    for index, token in enumerate(tokens):
        if token in _OPENING:
            brackets.append(_bracket(tokens[index - 1] if index else "", token, index))
        elif token in _CLOSING and brackets:
            bracket = brackets.pop()
            if token == ")" and not bracket.trails and _is_needless(tokens, bracket, index, not brackets):
                dropped |= {bracket.start, index}
        elif brackets and (token in _BINDING or token in (",", "lambda")):
            brackets[-1].inner.append(token)
    return [token for index, token in enumerate(tokens) if index not in dropped] if dropped else tokens


def _is_needless(tokens: list[str], bracket: _Bracket, end: int, outermost: bool) -> bool:
    """True where the parentheses from `bracket` to the index `end` group a whole expression or target list."""
    if end == bracket.start + 1:
        return False
    before = tokens[bracket.start - 1] if bracket.start else ""
    after = tokens[end + 1] if end + 1 < len(tokens) else ""
    if outermost and after == ":" and end + 2 == len(tokens) and before not in ("->", ":"):
        return _is_header(tokens[: bracket.start], bracket)
    if not _BINDING.isdisjoint(bracket.inner):
        return False
    if "," in bracket.inner:  # a tuple
        is_value = before in _ASSIGNMENTS or (before in ("return", "yield") and bracket.start == 1)
        is_target = (before in ("", "=") and after == "=") or (before == "for" and after == "in")
        return outermost and ((is_value and after in ("", "=")) or is_target)
    if before in ("for", "except"):
        return after in ("in", "as")
    if outermost and after == "=":  # the last of several targets, or an annotation
        return before == "=" or (before == ":" and bracket.start == tokens.index(":") + 1)
    if not before and after == ":":  # the annotation of a target in parentheses declares no field
        return False
    return before in _BEFORE and after in _AFTER


def _is_header(before: list[str], bracket: _Bracket) -> bool:
    """True where parentheses hold all of a header's expression, after the tokens `before`."""
    if before == ["with"]:
        return "for" not in bracket.inner
    if before in (["if"], ["elif"], ["while"], ["except"]):
        return {",", "for", "yield"}.isdisjoint(bracket.inner)
    is_loop = before[:1] == ["for"] or before[:2] == ["async", "for"]
    one_in = before[-1:] == ["in"] and before.count("in") == 1
    return is_loop and one_in and {",", *_BINDING}.isdisjoint(bracket.inner)
