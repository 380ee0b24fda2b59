"""Formulas of the documentation as plain text for a terminal: LaTeX of one line, in letters and signs of a keyboard."""

from __future__ import annotations

import re

_SIGNS = {
    r"\|": " || ",
    r"\lVert": "||",
    r"\rVert": "||",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\langle": "<",
    r"\rangle": ">",
    r"\approx": "~",
    r"\ne": "!=",
    r"\ge": ">=",
    r"\le": " <= ",
    r"\odot": "*",
    r"\top": "T",
    r"\quad": "  ",
}
# Innermost groups first; in this order, so that what has two groups is taken before what has one.
_GROUPS = (
    (re.compile(r"\\(?:text|mathcal) *\{([^{}]*)\}"), lambda match: match[1]),
    (re.compile(r"([_^])\{([^{}]*)\}"), lambda match: match[1] + _index(match[2])),
    (re.compile(r"\\frac *\{([^{}]*)\} *\{([^{}]*)\}"), lambda match: f"{_whole(match[1])}/{_whole(match[2])}"),
    (re.compile(r"\\(sqrt) *\{([^{}]*)\}"), lambda match: f"{match[1]}({match[2]})"),
    (re.compile(r"\\(hat|bar) *\{([^{}]*)\}"), lambda match: f"{match[2]}-{match[1]}"),
)


def plain_formula(latex: str) -> str:
    """A formula such as `T^2/B sum_i KL(softmax(z_t,i / T) || softmax(z_s,i / T))`."""
    text = re.sub(r"\\(?:left|right)(?=[\\()])", "", latex).replace(r"\,", " ")
    for sign, plain in _SIGNS.items():
        # A closing sign takes the space before it away, and an opening one that behind it.
        left, right = (" *" if sign.startswith(side) else "" for side in (r"\r", r"\l"))
        text = re.sub(f"{left}{re.escape(sign)}(?![A-Za-z]){right}", plain, text)
    unchanged = ""
    while unchanged != text:
        unchanged = text
        for pattern, rule in _GROUPS:
            text = pattern.sub(rule, text)
    text = re.sub(r"\\([A-Za-z]+)", r"\1", text)
    text = re.sub(r"\( +", "(", re.sub(r" +(?=[,)])", "", text))
    return re.sub(r" +", " ", text).strip()


def _index(text: str) -> str:
    """An index or a power: as it is where it is of one piece, else in parentheses."""
    return text if re.fullmatch(r"[\w,\\'-]+", text) else f"({text})"


def _whole(text: str) -> str:
    """A part of a fraction: in parentheses where it has more than one factor."""
    return text if re.fullmatch(r"[\\\w^,.]+", text.strip()) else f"({text.strip()})"
