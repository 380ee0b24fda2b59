"""Tables as text, Markdown and CSV: everything is shown, and nothing in a cell is run or rendered."""

from __future__ import annotations

import csv
import io
import re

import pytest

from benchbench.reports.escape import escape_markdown
from benchbench.reports.render import RENDERERS, markdown, plain, to_csv
from benchbench.reports.table import Entry, Table

NASTY = r"a_b & 50% of $x^2$ #1 {y} ~ \input{z} | <b>`c`</b> *d* [e](f) ± × –"
CONTROL = "one\ntwo\r\x1b[31mred\x00\x7f\x9b"


def table(*rows: list[Entry | str], columns: list[str] | None = None, **parts) -> Table:
    entries = [[entry if isinstance(entry, Entry) else Entry(entry) for entry in row] for row in rows]
    width = len(entries[0]) if entries else 2
    return Table("results", "A title", columns or [f"column {n}" for n in range(width)], entries, **parts)


class TestMarkdown:
    @pytest.mark.parametrize(
        ("text", "escaped"),
        [
            ("a|b", r"a\|b"),
            ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
            ("a\\", "a\\\\"),
            (r"\|", r"\\\|"),
            ("*a* _b_ `c` [d](e) #f !g ~h", r"\*a\* \_b\_ \`c\` \[d\](e) \#f \!g \~h"),
            ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
            ("costs $5, not $6", r"costs \$5, not \$6"),  # or some read a formula
            ("66.7 ± 20.8 (n=3)", "66.7 ± 20.8 (n=3)"),
        ],
    )
    def test_specials(self, text, escaped):
        assert escape_markdown(text) == escaped

    def test_a_cell_cannot_break_out(self):
        drawn = markdown(table([NASTY, CONTROL], ["a", "b\\"], columns=[NASTY, "b"], notes=[CONTROL]))
        rows = [line for line in drawn.splitlines() if line.startswith("|")]
        assert len(rows) == 4  # header, rule, two rows
        for row in rows:
            # A pipe counts where an even number of backslashes stands before it.
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3
        assert "<b>" not in drawn

    def test_whole(self):
        drawn = markdown(table(["scratch", Entry("50.0", bold=True)], columns=["arm", "x"], notes=["a note", "b"]))
        assert drawn == (
            "**A title**\n\n| arm     |        x |\n|:--------|---------:|\n| scratch | **50.0** |\n\n- a note\n- b\n"
        )


class TestPlain:
    def test_the_best_is_starred_and_the_star_explained(self):
        drawn = plain(table(["a", Entry("9.0", bold=True)], ["b", "1.0"]))
        assert "9.0 *" in drawn
        assert "1.0 *" not in drawn
        assert "* best of its column" in drawn
        assert "*" not in plain(table(["a", "9.0"]))

    def test_in_color_it_is_bold(self):
        drawn = plain(table(["a", Entry("9.0", bold=True)], ["b", "1.0"]), color=True)
        assert "\x1b[1m9.0\x1b[0m" in drawn
        assert "* best" not in drawn

    def test_a_cell_cannot_steer_the_terminal(self):
        nasty = Table("results", CONTROL, [CONTROL, "b"], [[Entry(CONTROL), Entry(CONTROL, bold=True)]], [CONTROL])
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", plain(nasty))
        assert len(plain(nasty).splitlines()) == 8

    def test_numbers_stay_as_they_are(self):
        drawn = plain(table(["a", "1e-5"], ["b", "0.10"], ["c", "1,234"], ["d", "007"]))
        for text in ("1e-5", "0.10", "1,234", "007"):
            assert text in drawn


class TestCsv:
    def test_reads_back(self):
        drawn = to_csv(table([NASTY, 'say "x", y'], ["a", "b\nc"], columns=["one, two", "three"]))
        assert list(csv.reader(io.StringIO(drawn))) == [
            ["one, two", "three"],
            [NASTY, 'say "x", y'],
            ["a", "b\nc"],
        ]


@pytest.mark.parametrize("kind", RENDERERS)
def test_every_renderer_shows_every_entry(kind):
    rows = [["scratch", "failed", "–"], ["tune", "66.7 (n=2, 1 missing)", "n/a"]]
    drawn = RENDERERS[kind](table(*rows))
    for text in ("scratch", "failed", "tune", "66.7", "(n=2, 1 missing)", "n/a", "column 2"):
        assert text in drawn
    assert drawn.endswith("\n")


@pytest.mark.parametrize("kind", RENDERERS)
def test_every_renderer_draws_a_table_without_rows(kind):
    assert "column 1" in RENDERERS[kind](table())
