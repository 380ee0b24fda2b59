"""Measured figures of losses, out of the committed reports: the cost of a step, and results of the small suites."""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path

REPORTS = Path(__file__).parents[2] / "reports"
STEP_COSTS = "step_costs.md"
# Reports of losses on one pair, with the page of each; of a loss, the first that has it counts.
PAGES = {
    "losses_cifar10_ahead": "losses-cifar10.md",
    "losses_cifar10": "losses-cifar10.md",
    "losses_small": "losses-small.md",
}
BESIDE = ("ce", "kd")  # terms that go with another method


@functools.cache
def step_costs(reports: Path = REPORTS) -> dict[str, str]:
    """Processor time of a training step with a loss, as a multiple of KD's, by the loss's name."""
    path = reports / STEP_COSTS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^\| a step, of KD's +\| (\w+) +\| ([\d.]+) ", text, flags=re.MULTILINE))


@functools.cache
def suite_results(reports: Path = REPORTS) -> dict[str, tuple[str, list[str]]]:
    """By the loss's name, a report and its results there: an arm with its accuracy and gain, each."""
    found: dict[str, tuple[str, list[str]]] = {}
    for report in PAGES:
        path = reports / report / "losses.csv"
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                source, texts = found.setdefault(_main(row["loss"]), (report, []))
                if source == report:
                    gain = f", {row['over scratch']} over the student alone" if row["over scratch"] != "–" else ""
                    texts.append(f"{row['arm']} {row['test accuracy (%)'].replace(' (n=', ' % (n=')}{gain}")
    return found


def _main(sum_of_losses: str) -> str:
    """The method of `ce + 2 srd + kd (temperature 1)`: its first term that is there for its own sake."""
    names = re.findall(r"(?:^|\+ )(?:[\d.e+-]+ )?([a-z]\w*)", sum_of_losses)
    return next((name for name in names if name not in BESIDE), names[-1])
