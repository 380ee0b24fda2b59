"""Measured figures of losses, out of the committed reports: the cost of a step, and results of the small suites."""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path

REPORTS = Path(__file__).parents[2] / "reports"
STEP_COSTS = "step_costs.md"
# Suites of every loss on one pair; the first whose report there is counts.
SUITES = ("losses_cifar10", "losses_small")
PAGES = {"losses_cifar10": "losses-cifar10.md", "losses_small": "losses-small.md"}
BESIDE = ("ce", "kd")  # terms that go with another method


@functools.cache
def step_costs(reports: Path = REPORTS) -> dict[str, str]:
    """Processor time of a training step with a loss, as a multiple of KD's, by the loss's name."""
    path = reports / STEP_COSTS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^\| a step, of KD's +\| (\w+) +\| ([\d.]+) ", text, flags=re.MULTILINE))


@functools.cache
def suite_results(reports: Path = REPORTS) -> tuple[str, dict[str, list[str]]]:
    """The suite that has a report, and its results by the loss's name: an arm with its accuracy and gain, each."""
    suite = next((each for each in SUITES if (reports / each / "losses.csv").is_file()), "")
    found: dict[str, list[str]] = {}
    if suite:
        with (reports / suite / "losses.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                gain = f", {row['over scratch']} over the student alone" if row["over scratch"] != "–" else ""
                accuracy = row["test accuracy (%)"].replace(" (n=", " % (n=")
                text = f"{row['arm']} {accuracy}{gain}"
                found.setdefault(_main(row["loss"]), []).append(text)
    return suite, found


def _main(sum_of_losses: str) -> str:
    """The method of `ce + 2 srd + kd (temperature 1)`: its first term that is there for its own sake."""
    names = re.findall(r"(?:^|\+ )(?:[\d.e+-]+ )?([a-z]\w*)", sum_of_losses)
    return next((name for name in names if name not in BESIDE), names[-1])
