"""The formula of a loss on its page, and its docstrings without what the formula says already."""

from __future__ import annotations

import re

from benchbench.losses.catalog.formulas import FORMULAS, WORDS

# A sentence that is a formula in plain text: a sum, or one that begins with an expression.
_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z(]|\w+ = )")
_FORMULA = re.compile(r"\bsum_|^-?\d/|^T\^2|^[A-Za-z]\w*(_\w+|_\{[^}]*\}|\([^)]*\))\S* (= |P_0 with)")
_TERM = re.compile(r"(Term `\w+`): (\d|sum |min\()")
_NAMED = "part of the formula above."


def formula(loss: str) -> list[str]:
    """A block of LaTeX for each line of a loss's formula, then words; nothing of a loss that has none."""
    blocks = [f"```math\n{line}\n```" for line in FORMULAS.get(loss, ())]
    return [*blocks, WORDS[loss]] if loss in WORDS else blocks


def explained(loss: str, text: str) -> str:
    """The text of a docstring without formulas in plain text, where the page has the loss's formula.

    A first paragraph of which nothing is left says that it is part of the formula.
    """
    if loss not in FORMULAS:
        return text
    first, *others = re.split(r"\n\s*\n", text)
    kept = [_without(paragraph) for paragraph in (first, *others)]
    return "\n\n".join([kept[0] or _NAMED, *filter(None, kept[1:])])


def _without(paragraph: str) -> str:
    text = " ".join(paragraph.split())
    if text.startswith("Source:"):
        return text
    sentences = [f"{term[1]}." if (term := _TERM.match(each)) else each for each in _SENTENCE.split(text)]
    return " ".join(each for each in sentences if each.startswith("Terms ") or not _FORMULA.search(each))
