"""LaTeX of any text prints it, and does not run it."""

from __future__ import annotations

import pytest

from benchbench.reports.escape import escape_latex, printable, visible
from benchbench.reports.render import RENDERERS, html
from benchbench.reports.table import Entry, Table


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
        ("*x", "{*}x"),  # nor its star
        ("--set seeds", "-{}-set seeds"),  # no dash
        ("Müller, Łukasz, ﬁ", r"M\"{u}ller, \L{}ukasz, {[}U+FB01{]}"),
        ("α 中", r"$\alpha$ {[}U+4E2D{]}"),
        ("a\nb\x1b[31m", r"a b\textbackslash{}x1b{[}31m"),
        ("a\u202eb", r"a\textbackslash{}u202eb"),
    ],
)
def test_specials(text, escaped):
    assert escape_latex(text) == escaped


def test_only_ascii_is_left():
    everything = "".join(map(chr, range(0x20, 0x3000)))
    assert escape_latex(everything).isascii()


def test_printable_is_one_line():
    assert printable("a\r\n\tb\u2028c") == "a b c"


OBEYED = (
    "\x00\x07\x1b\x7f\x9b\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ud800"
)


@pytest.mark.parametrize("character", OBEYED)
def test_what_a_terminal_obeys_is_shown_by_its_code(character):
    text = f"a{character}b"
    table = Table("t", text, [text, "n"], [[Entry(text), Entry("1")]], [text])
    for shown in (printable(text), *(render(table) for render in RENDERERS.values()), html(table)):
        assert character not in shown
        assert f"{ord(character):x}b" in shown


def test_line_breaks_of_longer_texts_stay():
    assert visible("a\n\tb\x1b") == "a\n\tb\\x1b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("@sum", "'@sum"), ("-x", "'-x"), ("+5.0", "+5.0"), ("-.5 [1]", "-.5 [1]")],
)
def test_no_spreadsheet_computes_a_name(text, shown):
    table = Table("classes", "Classes", ["class"], [[Entry(text)]], [], 1)
    assert RENDERERS["csv"](table).splitlines()[1] == shown
