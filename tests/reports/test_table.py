"""Tables as text, Markdown, HTML and CSV: everything is shown, and nothing in a cell is run or rendered."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from benchbench.reports.escape import escape_markdown
from benchbench.reports.latex import latex
from benchbench.reports.render import RENDERERS, html, markdown, plain, to_csv
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


class _Reader(HTMLParser):
    """Tags of a document, and its texts by the tag that they stand in."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data))


class TestHtml:
    def test_whole(self):
        drawn = html(table(["scratch", Entry("50.0", bold=True)], columns=["arm", "x"], notes=["a note", "b"]))
        assert drawn == (
            '<div class="tex2jax_ignore mathjax_ignore">\n<table>\n<caption>A title</caption>\n'
            '<thead><tr><th style="text-align: left">arm</th><th style="text-align: right">x</th></tr></thead>\n'
            '<tbody>\n<tr><td style="text-align: left">scratch</td>'
            '<td style="text-align: right"><strong>50.0</strong></td></tr>\n</tbody>\n</table>\n'
            "<ul><li>a note</li><li>b</li></ul>\n</div>\n"
        )

    def test_all_text_is_text(self):
        nasty = "<script>alert(1)</script>\"'&lt;" + NASTY
        reader = _Reader(
            html(replace(table([nasty, Entry(nasty, True)], columns=[nasty] * 2, notes=[nasty]), title=nasty))
        )
        assert reader.texts == [(tag, nasty) for tag in ("caption", "th", "th", "td", "strong", "li")]
        assert set(reader.tags) == {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "ul", "li"}
        assert reader.open == []

    def test_control_characters_become_spaces(self):
        drawn = html(table([CONTROL, "1"], notes=[CONTROL]))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", drawn)

    def test_without_rows_or_notes(self):
        assert _Reader(html(table())).tags == ["div", "table", "caption", "thead", "tr", "th", "th", "tbody"]


def test_a_table_shows_itself():
    shown = table(["a", Entry("9.0", bold=True)], columns=["arm", "x"], notes=["a note"])
    assert shown._repr_html_() == html(shown)
    assert repr(shown) + "\n" == plain(shown)
    assert shown.to_markdown() == markdown(shown)
    assert shown.to_latex() == latex(shown)
    assert shown.to_csv() == to_csv(shown)
    assert shown.to_dataframe().to_dict("list") == {"arm": ["a"], "x": ["9.0"]}
    assert table(columns=["arm", "arm"]).to_dataframe().shape == (0, 2)


class TestPlain:
    def test_the_best_is_starred_and_the_star_explained(self):
        drawn = plain(table(["a", Entry("9.0", bold=True)], ["b", "1.0"]))
        assert "9.0 *" in drawn
        assert "1.0 *" not in drawn
        assert "* best of its column" in drawn
        assert "*" not in plain(table(["a", "9.0"]))

    def test_a_table_may_give_bold_another_meaning(self):
        shown = table(["a", Entry("9.0", bold=True)], bold_meaning="above chance")
        assert "\n* above chance\n" in plain(shown)
        assert "best" not in plain(shown)

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
            ["a", "b c"],
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
