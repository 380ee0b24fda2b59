"""A map of verdicts: where distillation is better than fine-tuning at equal compute, and where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.figure import DOUBLE, Figure
from benchbench.reports.figures.style import colors, legend_size, muted, not_drawn, paper, wrapped
from benchbench.reports.tables.verdict_map import NO_FINETUNE, UNFINISHED, MapCell, VerdictMap, map_notes, verdict_maps
from benchbench.reports.tables.verdicts import TOO_SMALL
from benchbench.statistics.noninferiority import FALLS_SHORT, INCONCLUSIVE, MATCHES, SURPASSES
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

NAME = 22  # characters of a line beside a map
NAMES = 1.4  # inches that they take
CELL, HEADS = 0.42, 0.5  # inches: height of a cell, and of a map's title with the names below it
NARROW = 0.75  # inches, below which a cell has no room for words
SIDE_BY_SIDE = 3  # columns of maps that stand two in a line
DARKER = 0.05  # added to both luminances of a contrast: WCAG 2.2


@dataclass(frozen=True)
class Sign:
    """Look of a verdict: its mark in the cell and its colour."""

    mark: str
    color: str


def verdict_map(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """A grid of verdicts for data sets x students, and one for teachers x students, each in two ways of counting hours.

    Each cell has the verdict on the best distilled arm against fine-tuning at equal compute, as in the table of the
    same name: colour, mark and the difference in points. None where a grid would have one cell alone.
    """
    import matplotlib.figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    maps = verdict_maps(results, plan)
    if not maps:
        return None
    signs = _signs()
    handles = _legend(maps, signs)
    across = 2 if max(len(each.columns) for each in maps) <= SIDE_BY_SIDE else 1
    heights = [max(len(each.lines) for each in maps[at : at + across]) for at in range(0, len(maps), across)]
    columns, legend = legend_size([str(handle.get_label()) for handle in handles], DOUBLE)
    size = DOUBLE, sum(height * CELL + HEADS for height in heights) + legend
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [height * CELL + HEADS for height in heights]
    axes = list(figure.subplots(len(heights), across, squeeze=False, gridspec_kw={"height_ratios": ratios}).flat)
    for index, (axis, each) in enumerate(zip(axes, maps, strict=True)):
        width = (DOUBLE - NAMES) / across / len(each.columns)
        _draw(axis, each, signs, width)
        _name(axis, each, width, beside=index % across == 0)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1.4, handleheight=1.2)
    title = f"Distillation against fine-tuning at equal compute in {plan.suite.name}"
    notes = ["in each cell the verdict's mark and the difference of the means in points", *map_notes(results, plan)]
    return Figure("verdict_map", title, figure, [*notes, *not_drawn(results)])


def _signs() -> dict[str, Sign]:
    """By verdict, in the colours of the theme."""
    blue, red, green, _, _, sky, _ = colors()
    return {
        SURPASSES: Sign("▲", blue),
        NO_FINETUNE: Sign("◆", sky),
        MATCHES: Sign("=", green),
        INCONCLUSIVE: Sign("?", muted()),
        FALLS_SHORT: Sign("▼", red),
        TOO_SMALL: Sign("○", paper()),
        UNFINISHED: Sign("–", paper()),
    }


def _draw(axis: Axes, each: VerdictMap, signs: Mapping[str, Sign], width: float) -> None:
    """The cells of a map, the first line at the top; width of one in inches."""
    from matplotlib.patches import Rectangle

    for (line, column), cell in each.cells.items():
        sign, x, y = signs[cell.verdict], each.columns.index(column), each.lines.index(line)
        edge = muted() if sign.color == paper() else paper()
        axis.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=sign.color, edgecolor=edge, linewidth=0.6))
        text = f"{sign.mark} {_words(cell, width)}"
        axis.text(x + 0.5, y + 0.5, text.strip(), ha="center", va="center", color=readable_on(sign.color))
    axis.set(xlim=(0, len(each.columns)), ylim=(len(each.lines), 0))


def _words(cell: MapCell, width: float) -> str:
    """The text of a cell beside its mark."""
    if cell.verdict == NO_FINETUNE:
        return "no fine-tune\nthat cheap" if width >= NARROW else ""
    if cell.arm is None or cell.arm.difference is None:
        return ""
    return f"{cell.arm.difference:+.1f}" + ("\n(worse)" if cell.is_worse else "")


def _name(axis: Axes, each: VerdictMap, width: float, beside: bool) -> None:
    """Title and labels of a map; its lines are named beside the first one of a row."""
    axis.set_title(wrapped(each.title, 60), loc="left")
    letters = max(4, int(width * 15))
    axis.set_xticks([x + 0.5 for x in range(len(each.columns))], [wrapped(name, letters) for name in each.columns])
    names = [wrapped(name, NAME) for name in each.lines] if beside else []
    axis.set_yticks([y + 0.5 for y in range(len(names))], names)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)


def _legend(maps: Sequence[VerdictMap], signs: Mapping[str, Sign]) -> list[Artist]:
    """A key of the verdicts that there are."""
    from matplotlib.patches import Patch

    there = {cell.verdict for each in maps for cell in each.cells.values()}
    return [
        Patch(facecolor=sign.color, edgecolor=muted(), linewidth=0.4, label=f"{sign.mark} {verdict}")
        for verdict, sign in signs.items()
        if verdict in there
    ]


def readable_on(color: str) -> str:
    """Black or white, whichever has the larger contrast with a colour (WCAG 2.2)."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + DARKER) / DARKER >= (1 + DARKER) / (luminance + DARKER) else "#ffffff"
