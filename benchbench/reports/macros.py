"""The headline numbers as LaTeX commands, so that a paper's text says what its tables say."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

import pandas as pd

from benchbench.plan import Plan
from benchbench.reports.escape import printable
from benchbench.reports.savings import cost_ratio, decimals, trained_hours
from benchbench.reports.summary import finished, hours_text

HEAD = r"""
% Every name is \ + the suite + what it is + arm + student + data set, in letters alone: each word begins with a
% capital, digits are spelled out, and what else there is falls away; a name that would come twice ends in Again.
% What it is:
%   Accuracy  mean test accuracy, in percent
%   Spread    its standard deviation over seeds, in points
%   Seeds     n, the seeds that are done
%   Hours     device-hours of one run: its own and its share of the stages that it stands on
%   Total     the same with the estimated pre-training of the student's weights
%   Saved     percent less than pre-train + fine-tune, pre-training counted; negative where it is more
""".strip()
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def macros(results: pd.DataFrame, plan: Plan, about: str) -> str:
    """A file of `\\newcommand` for the numbers that a text quotes; what is not known has no command."""
    lines = [f"% {printable(about)}", HEAD]
    seen: Counter[str] = Counter()
    tuned = results["row"][results.method == "finetune"]
    for (data, student), frame in results.groupby(["data", "student"], sort=False):
        reference = finished(frame[frame["row"] == tuned.iloc[0]]) if len(tuned) else frame.iloc[:0]
        for row, cells in frame.groupby("row", sort=False):
            done = finished(cells)
            if done.empty:
                continue
            where = letters(f"{row} {student} {data}")
            lines.append(f"% {printable(f'{row}, {student}, {data}')}")
            for what, value in _numbers(done, reference):
                name = f"{letters(plan.suite.name, first=False)}{what}{where}"
                seen[name] += 1
                lines.append(rf"\newcommand{{\{name}{'Again' * (seen[name] - 1)}}}{{{value}}}")
    return "\n".join([*lines, ""])


def letters(text: str, first: bool = True) -> str:
    """A text as part of a command's name; its first word keeps its small letter unless `first`."""
    # The letters of other scripts are no letters to every LaTeX.
    words = re.findall(r"[A-Za-z]+|\d", text)
    shown = [_DIGITS[int(word)] if word.isdigit() else word[:1].upper() + word[1:] for word in words]
    name = "".join(shown)
    return name if first else name[:1].lower() + name[1:]


def _numbers(done: pd.DataFrame, reference: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """What each command says of one arm on one data set with one student."""
    yield "Accuracy", f"{100 * done.accuracy.mean():.1f}"
    if len(done) > 1:
        yield "Spread", f"{100 * done.accuracy.std(ddof=1):.1f}"
    yield "Seeds", f"{len(done)}"
    hours, pretraining = trained_hours(done), done.pretraining_hours.astype(float)
    yield "Hours", hours_text(hours)
    if not pretraining.isna().any():
        yield "Total", hours_text(hours + pretraining.mean())
    added = reference.pretraining_hours.astype(float).mean(skipna=False)
    value, *_ = cost_ratio(done, reference, added, level=0.95)
    if done.method.iloc[0] == "distill" and not math.isnan(value):
        yield "Saved", f"{100 * (1 - value):.{decimals(value)}f}"
