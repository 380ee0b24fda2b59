"""`python -m benchbench.statistics [DRAWS]` prints measured error rates of intervals and verdicts, as Markdown."""

from __future__ import annotations

import sys

import numpy as np
from tabulate import tabulate

from benchbench.statistics.noninferiority import MATCHES, SURPASSES
from benchbench.statistics.simulation import (
    DISTRIBUTIONS,
    SIZES,
    bootstrap_coverage,
    crossing_coverage,
    iqm_coverage,
    simulated_verdicts,
    t_coverage,
)

DRAWS = 10_000
SPREADS = (0.2, 0.4, 0.6, 1.0)
ARMS = 5


def coverage(draws: int) -> str:
    """Share of 95 % intervals of a mean that hold it."""
    rows = [
        [
            distribution,
            str(n),
            percent(t_coverage(distribution, n, draws)),
            percent(bootstrap_coverage(distribution, n, draws)),
        ]
        for distribution in DISTRIBUTIONS
        for n in SIZES
    ]
    title = f"How often a 95 % interval of a mean of n runs holds it (%; {draws:,} draws)"
    return table(title, ["runs", "n", "t-interval", "percentile bootstrap"], rows)


def verdicts(draws: int) -> str:
    """Share of arms with the verdict that they match or surpass their reference, rightly and wrongly."""

    def passes(n: int, spread: float, truth: float, arms: int) -> np.ndarray:
        return np.isin(simulated_verdicts(n, spread, [truth] * arms, draws), (MATCHES, SURPASSES))

    rows = []
    for arms in (1, ARMS):
        truth = "equal, alone" if arms == 1 else f"equal, one of {arms}"
        for spread in SPREADS:
            shares = [percent(passes(n, spread, 0.0, arms)[:, 0].mean()) for n in SIZES]
            rows.append([truth, f"{spread:g}", *shares])
    errors = [percent(passes(n, 1.0, -1.0, ARMS).any(axis=1).mean()) for n in SIZES]
    rows.append([f"any of {ARMS}, all a margin below (wrong)", "any", *errors])
    columns = ["the truth", "spread / margin", *(f"n = {n}" for n in SIZES)]
    return table(f"How often the verdict is matches or surpasses (%; {draws:,} draws)", columns, rows)


def bootstraps(draws: int) -> str:
    """Share of stratified bootstrap intervals of the interquartile mean that hold it."""
    sizes = [n for n in SIZES if n > 2]
    rows = [[f"{blocks} blocks", *(percent(iqm_coverage(blocks, n, draws)) for n in sizes)] for blocks in (2, 6)]
    title = f"How often a 95 % stratified bootstrap interval holds the interquartile mean gain (%; {draws:,} draws)"
    return table(title, ["data", *(f"n = {n}" for n in sizes)], rows)


def crossings(draws: int) -> str:
    """Share of bootstrap intervals of a crossing of two ladders that hold it."""
    row = ["two ladders of three rungs", *(percent(crossing_coverage(n, draws)) for n in SIZES)]
    title = f"How often a 95 % interval of a crossing holds it (%; {draws:,} draws)"
    return table(title, ["data", *(f"n = {n}" for n in SIZES)], [row])


def table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, with labels in the first column."""
    alignment = ["left"] + ["right"] * (len(columns) - 1)
    return f"**{title}**\n\n{tabulate(rows, columns, 'pipe', colalign=alignment, disable_numparse=True)}\n"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    if len(sys.argv) > 2 or not all(word.isdecimal() and int(word) for word in sys.argv[1:]):
        print("usage: python -m benchbench.statistics [DRAWS], a whole number above 0", file=sys.stderr)
        sys.exit(2)
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    few = max(draws // 10, 1)
    for text in (coverage(draws), verdicts(draws), bootstraps(few), crossings(few)):
        print(text)
