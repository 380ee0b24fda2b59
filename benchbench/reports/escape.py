"""Text that a format prints and neither runs nor renders."""

from __future__ import annotations

import re
import unicodedata

from benchbench.errors import printable, visible

__all__ = ["escape_latex", "escape_markdown", "printable", "visible"]

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # After a row's \\ or a rule, a bracket would open an optional argument.
    "[": "{[}",
    "*": "{*}",  # as a star would be the form of that command
    "]": "{]}",
    "\N{NO-BREAK SPACE}": "~",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "œ": r"\oe{}",
    "ø": r"\o{}",
    "ł": r"\l{}",
    "Ø": r"\O{}",
    "Ł": r"\L{}",
}
_MATH = {
    "±": r"\pm",
    "×": r"\times",
    "−": "-",
    "→": r"\to",
    "≤": r"\le",
    "≥": r"\ge",
    "α": r"\alpha",
    "β": r"\beta",
    "γ": r"\gamma",
    "λ": r"\lambda",
    "μ": r"\mu",
    "τ": r"\tau",
}
# Combining marks, and the commands that put them on a letter.
_ACCENTS = {
    **dict(zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308", "`'^~=u.\"", strict=True)),
    **dict(zip("\u030a\u030b\u030c\u0327\u0323\u0331", "rHvcdb", strict=True)),
}


def escape_latex(text: str) -> str:
    """Text that LaTeX, whichever engine, prints and does not run; letters that it may lack are named by their codes."""
    text = printable(text)
    return "".join(_between(*pair) + _in_latex(pair[1]) for pair in zip(f" {text}", text, strict=False))


def _between(before: str, character: str) -> str:
    """Keeps two characters apart that LaTeX would make one: the -- of an option is no dash."""
    return "{}" if before == character and character in "-'`" else ""


def _in_latex(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character in _MATH:
        return f"${_MATH[character]}$"
    if character.isascii():
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"{{[}}U+{ord(character):04X}{{]}}"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows and does not render."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~$])", r"\\\1", printable(text)).replace("&", "&amp;")
