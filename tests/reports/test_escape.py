"""LaTeX of any text prints it, and does not run it."""

from __future__ import annotations

import pytest

from benchbench.reports.escape import escape_latex, printable


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("50% & $5 #1 a_b", r"50\% \& \$5 \#1 a\_b"),
        ("~ ^", r"\textasciitilde{} \textasciicircum{}"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        ("1 ± 2 × 3 – 4", r"1 $\pm$ 2 $\times$ 3 -- 4"),
        ("plain text, (n=3)", "plain text, (n=3)"),
        ("x [1cm]", "x {[}1cm{]}"),  # no argument of the row before
        ("--set seeds", "-{}-set seeds"),  # no dash
        ("Müller, Łukasz, ﬁ", r"M\"{u}ller, \L{}ukasz, {[}U+FB01{]}"),
        ("α 中", r"$\alpha$ {[}U+4E2D{]}"),
        ("a\nb\x1b[31m", "a b {[}31m"),
    ],
)
def test_specials(text, escaped):
    assert escape_latex(text) == escaped


def test_only_ascii_is_left():
    everything = "".join(map(chr, range(0x20, 0x3000)))
    assert escape_latex(everything).isascii()


def test_printable_is_one_line():
    assert printable("a\r\n\x00\x9b\u2028b") == "a b"
