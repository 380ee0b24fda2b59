"""The page of the results' columns."""

from __future__ import annotations

from benchbench.reference.markdown import inline, table
from benchbench.reports.columns import COLUMNS, HIDDEN, type_of

INTRO = """\
The columns of `benchbench results`, of `results.csv` and of the cells in `--json`, one row for each cell of the grid.

Accuracies are in 0..1 and hours are device-hours. A value that is not known is empty, in JSON `null`. Python has the
same table as `run.results`, or as `benchbench.load_results(suite)`."""

EXAMPLES = """\
```bash
benchbench results quickstart                            # printed: the columns that fit a terminal
benchbench results quickstart --columns row,seed,accuracy,energy_joules
benchbench results quickstart --output cells.parquet     # or .csv, .json: all columns
```"""


def results_page() -> str:
    """The page as Markdown."""
    rows = [[f"`{name}`", type_of(name), inline(text)] for name, text in COLUMNS.items() if name not in HIDDEN]
    rest = [f"In Python there is also `{name}`: {inline(COLUMNS[name])}." for name in HIDDEN]
    parts = ["# Results", INTRO, EXAMPLES, table(["column", "type", "meaning"], rows), *rest]
    return "\n\n".join(parts) + "\n"
