"""The table of a report, which shows itself in every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchbench.reports import render
from benchbench.reports.latex import latex
from benchbench.reports.table_content import Entry, TableContent

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Entry", "Table"]


@dataclass(frozen=True, repr=False)
class Table(TableContent):
    """A table of a report; shown as HTML in a notebook and as text elsewhere.

    Attributes:
        name: file name without an ending.
        title: the caption.
        columns: the header.
        rows: entries, as many as columns in each.
        notes: explanations of the numbers.
        labels: number of leading columns that are labels (aligned left).
        bold_meaning: what an entry in bold is, in words; plain text has a star for bold, and explains it.
    """

    def __repr__(self) -> str:
        return render.plain(self).rstrip()

    def _repr_html_(self) -> str:
        return render.html(self)

    def to_markdown(self) -> str:
        """Title, table and notes in Markdown."""
        return render.markdown(self)

    def to_latex(self) -> str:
        """A floating table in LaTeX; its preamble needs `booktabs`, `graphicx` and `siunitx`."""
        return latex(self)

    def to_csv(self) -> str:
        """Header and rows as CSV."""
        return render.to_csv(self)

    def to_dataframe(self) -> pd.DataFrame:
        """The texts of the entries; their numbers are in the results."""
        import pandas as pd

        return pd.DataFrame([[entry.text for entry in row] for row in self.rows], columns=list(self.columns))
