"""The headline numbers as LaTeX commands, so that a paper's text says what its tables say."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.escape import printable
from benchbench.reports.groups import Runs, runs_of
from benchbench.reports.summary import hours_text
from benchbench.reports.tables.gpu_hours import HOURS, trained_hours
from benchbench.reports.tables.savings import NONE, cost_ratio, decimals

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
    for (data, student), arms in runs_of(results, *HOURS, "accuracy").items():
        reference = arms.get(tuned.iloc[0], NONE) if len(tuned) else NONE
        for row, runs in arms.items():
            if not runs.n:
                continue
            where = letters(f"{row} {student} {data}")
            lines.append(f"% {printable(f'{row}, {student}, {data}')}")
            for what, value in _numbers(runs, reference):
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


def _numbers(runs: Runs, reference: Runs) -> Iterator[tuple[str, str]]:
    """What each command says of one arm on one data set with one student."""
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
