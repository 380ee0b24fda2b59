"""The headline numbers as LaTeX commands, so that a paper's text agrees with its tables."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from benchbench.reports.escape import escape_latex, printable
from benchbench.reports.groups import Runs, groups_of
from benchbench.reports.headline import renamed
from benchbench.reports.report import Report
from benchbench.reports.summary import hours_text
from benchbench.reports.tables.gpu_hours import trained_hours
from benchbench.reports.tables.savings import cost_ratio, decimals

HEAD = r"""
% Every name is \ + the suite + quantity + arm + student + data set, in letters alone: each word begins with a
% capital, digits are spelled out, and other characters are left out; a repeated name ends in Again.
% The answer in words is \ + the suite + Answer. Quantities:
%   Accuracy  mean test accuracy, in percent
%   Spread    its standard deviation over seeds, in points
%   Seeds     n, the seeds that are done
%   Hours     device-hours of one run: its own and its share of the stages that it needs
%   Total     the same with the pre-training of the student's weights
%   Saved     percent less than pre-train + fine-tune, pre-training counted; negative where it is more
""".strip()
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def macros(report: Report, origin: str) -> str:
    """A file of `\\newcommand` for the answer and the numbers that a text quotes; unknown ones have no command."""
    suite = letters(report.plan.suite.name, first=False)
    text = escape_latex(report.answer)
    lines = [f"% {printable(origin)}", renamed(HEAD, report.plan), rf"\newcommand{{\{suite}Answer}}{{{text}}}"]
    uses: Counter[str] = Counter()
    for (data, student), group in groups_of(report.headline).items():
        reference = group[group.reference]
        for row, runs in group.rows.items():
            if not runs.n:
                continue
            labels = letters(f"{row} {student} {data}")
            lines.append(f"% {printable(f'{row}, {student}, {data}')}")
            for quantity, value in _numbers(runs, reference):
                name = f"{suite}{quantity}{labels}"
                uses[name] += 1
                lines.append(rf"\newcommand{{\{name}{'Again' * (uses[name] - 1)}}}{{{value}}}")
    return "\n".join([*lines, ""])


def letters(text: str, first: bool = True) -> str:
    """A text as part of a command's name; its first word keeps its small letter unless `first`."""
    # The letters of other scripts are no letters to every LaTeX.
    words = re.findall(r"[A-Za-z]+|\d", text)
    name = "".join(_DIGITS[int(word)] if word.isdigit() else word[:1].upper() + word[1:] for word in words)
    # LaTeX defines no command whose name begins with "end".
    return name if first or name.lower().startswith("end") else name[:1].lower() + name[1:]


def _numbers(runs: Runs, reference: Runs) -> Iterator[tuple[str, str]]:
    """Quantities and values of one arm on one data set with one student."""
    yield "Accuracy", f"{100 * runs.mean('accuracy'):.1f}"
    if runs.n > 1:
        yield "Spread", f"{100 * runs.std('accuracy'):.1f}"
    yield "Seeds", f"{runs.n}"
    hours, pretraining = trained_hours(runs), runs.mean("pretraining_hours")
    yield "Hours", hours_text(hours)
    if not math.isnan(pretraining):
        yield "Total", hours_text(hours + pretraining)
    value, *_ = cost_ratio(runs, reference, reference.mean("pretraining_hours"), level=0.95)
    if runs.method == "distill" and not math.isnan(value):
        yield "Saved", f"{100 * (1 - value):.{decimals(value)}f}"
