"""Tables and figures in LaTeX: booktabs rules, and siunitx columns that align numbers at the decimal point."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchbench.reports.escape import escape_latex, printable

if TYPE_CHECKING:
    from benchbench.reports.figure import Figure
    from benchbench.reports.table_content import Entry, TableContent

PACKAGES = r"\usepackage{booktabs,graphicx,siunitx}"
# What siunitx 2 and 3 both know: bold numbers, and 12,345 as the other formats have it.
SETUP = (
    r"\sisetup{detect-weight, mode=text, retain-explicit-plus, "
    r"group-digits=integer, group-separator={,}, group-minimum-digits=4}"
)
# Opens a box that is shrunk where it would run over the margin, and only there.
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
# Wider than this a table spans both columns of a two-column page.
NARROW = 4
LONGEST = 40  # rows that fit a page
HEADER = 18  # characters of a line of the header
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<part>\d+))?(?:e(?P<power>[+-]?\d+))?(?: (?P<rest>\S.*))?"
)
_N = re.compile(r" \((n=\d+)\)$")


def latex(table: TableContent) -> str:
    """Floating tables, with all that they need but the packages in `PACKAGES`; a long table is set in parts.

    Entries that begin with a number stand in a siunitx column, aligned at the decimal point, and what follows the
    number (a spread, n) in a column beside it. An n that is the same wherever there is one stands once, below.
    """
    table, common = _without_common_n(table)
    columns = [_column(table, index) for index in range(len(table.columns))]
    rows = [_row([column.cell(entry) for column, entry in zip(columns, row, strict=True)]) for row in table.rows]
    parts = max(1, math.ceil(len(rows) / LONGEST))
    size = math.ceil(len(rows) / parts)
    head = _row([column.header(text) for column, text in zip(columns, table.columns, strict=True)])
    star = "*" if len(table.columns) > NARROW else ""
    lines = []
    for part in range(parts):
        lines += [
            rf"\begin{{table{star}}}",
            r"\centering",
            SETUP,
            rf"\caption{{{escape_latex(table.title)}{f' ({part + 1} of {parts})' if parts > 1 else ''}}}",
            rf"\label{{tab:{table.name}{f'-{part + 1}' if part else ''}}}",
            r"\smallskip",
            f"{FIT}%",
            rf"\begin{{tabular}}{{{''.join(column.spec for column in columns)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows[part * size : (part + 1) * size],
            r"\bottomrule",
            r"\end{tabular}}",
            *(_below([*table.notes, *common]) if part == parts - 1 else []),
            rf"\end{{table{star}}}",
        ]
    return "\n".join([*lines, ""])


def _below(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    lines = [rf"{escape_latex(note)}\\" for note in notes]
    lines[-1] = lines[-1].removesuffix(r"\\")
    return [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright", *lines, r"\end{minipage}"]


def table_inputs(names: Sequence[str], origin: str) -> str:
    """A file that inputs a suite's tables, with a comment on the packages that it needs."""
    head = [
        f"% {printable(origin)}",
        f"% In the preamble: {PACKAGES}",
        r"% and \input{FOLDER/macros} for the headline numbers as commands.",
        r"% In the text: \def\benchbenchfolder{FOLDER}\input{FOLDER/tables}, FOLDER being where this file lies.",
        r"\providecommand{\benchbenchfolder}{.}",
    ]
    return "\n".join([*head, *(rf"\input{{\benchbenchfolder/{name}}}" for name in names), ""])


def figure_inputs(figures: Sequence[Figure], origin: str) -> str:
    """A file that shows a suite's figures at their size, each with its caption."""
    lines = [
        f"% {printable(origin)}",
        r"% In the preamble: \usepackage{graphicx}",
        r"% In the text: \def\benchbenchfolder{FOLDER}\input{FOLDER/figures}, FOLDER being where this file lies.",
        r"\providecommand{\benchbenchfolder}{.}",
    ]
    for figure in figures:
        star = "*" if figure.wide else ""
        caption = ". ".join(text[:1].upper() + text[1:].rstrip(".") for text in (figure.title, *figure.notes))
        lines += [
            rf"\begin{{figure{star}}}",
            r"\centering",
            rf"{FIT}\includegraphics{{\benchbenchfolder/{figure.name}.pdf}}}}",
            rf"\caption[{{{escape_latex(figure.title)}}}]{{{escape_latex(caption)}.}}",
            rf"\label{{fig:{figure.name}}}",
            rf"\end{{figure{star}}}",
        ]
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class _Column:
    """One column of a table, as one or two of a tabular.

    Attributes:
        spec: its part of the tabular's argument.
        numbers: its entries that begin with a number; the others are set as text.
        beside: what follows the number has a column of its own.
        aligned: at the decimal point.
    """

    spec: str
    numbers: bool = False
    beside: bool = False
    aligned: bool = False

    def header(self, text: str) -> str:
        lines = [escape_latex(line) for line in textwrap.wrap(printable(text), HEADER)]
        if len(lines) < 2:
            return self._text("".join(lines))
        side, stacked = "l" if self.spec == "l" else "c" if self.aligned else "r", r" \\ ".join(lines)
        return self._text(rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stacked}\end{{tabular}}")

    def cell(self, entry: Entry) -> str:
        match = _NUMBER.fullmatch(entry.text) if self.numbers else None
        if match is None:
            text = escape_latex(entry.text)
            return self._text(rf"\textbf{{{text}}}" if entry.bold else text)
        number = f"{match['sign']}{match['whole'].replace(',', '')}" + (f".{match['part']}" if match["part"] else "")
        number += f"e{int(match['power'])}" if match["power"] else ""
        # A minus sign, as siunitx gives the number itself.
        rest = re.sub(r"(?<!\w)-(?=\d)", "$-$", escape_latex(match["rest"] or ""))
        if not self.aligned:
            text = rf"\num{{{number}}} {rest}".rstrip()
            return rf"\textbf{{{text}}}" if entry.bold else text
        bold = r"\bfseries " if entry.bold else ""
        return f"{bold}{number}" + (f" & {bold if rest else ''}{rest}".rstrip() if self.beside else "")

    def _text(self, text: str) -> str:
        """A text that is no number, in any kind of column."""
        return rf"\multicolumn{{2}}{{c}}{{{text}}}" if self.beside else f"{{{text}}}" if self.aligned else text


def _column(table: TableContent, index: int) -> _Column:
    if index < table.labels:
        return _Column("l")
    matches = [match for row in table.rows if (match := _NUMBER.fullmatch(row[index].text))]
    if not matches or any(match["power"] for match in matches):  # powers of ten align with nothing
        return _Column("r", numbers=bool(matches))
    sign = "+" if any(match["sign"] for match in matches) else ""
    whole = max(len(match["whole"].replace(",", "")) for match in matches)
    part = max(len(match["part"] or "") for match in matches)
    beside = any(match["rest"] for match in matches)
    spec = rf"S[table-format={sign}{whole}.{part}]" + (r"@{\ }l" if beside else "")
    return _Column(spec, numbers=True, beside=beside, aligned=True)


def _without_common_n(table: TableContent) -> tuple[TableContent, list[str]]:
    """The table without an n that all of its entries share, and a note with that n."""
    texts = [entry.text for row in table.rows for entry in row if "(n=" in entry.text]
    counts = {match[1] if (match := _N.search(text)) else None for text in texts}
    if len(counts) != 1 or None in counts:
        return table, []
    rows = [[replace(entry, text=_N.sub("", entry.text)) for entry in row] for row in table.rows]
    return replace(table, rows=rows), [f"{counts.pop()} in every cell"]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
