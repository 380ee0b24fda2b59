"""Style of figures: sizes for print, themes, colours that colour-blind readers can distinguish, one look per arm."""

from __future__ import annotations

import contextlib
import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench.reports.escape import printable
from benchbench.reports.figure import DARK, DOUBLE, LIGHT, SINGLE

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/) without the yellow, which is too light for thin lines;
# those of the dark theme are lighter where they must be.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK_COLORS = ("#3A8FD0", "#E8722A", "#12B485", "#D68FB8", "#E6A91E", "#7CC9F2", "#E6EAF0")
# Numbers of these have no common factor with that of the colours, so that 7 x 8 arms have looks of their own.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
ACROSS = 3  # panels side by side at the most
FONT = 7  # points, the smallest that is printed
MARKER = 4  # points across
LABEL = 42  # characters of a line of the legend
_STYLE: dict[str, Any] = {
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.labelsize": FONT + 1,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "legend.fontsize": FONT,
    "legend.frameon": False,
    "legend.labelspacing": 0.3,
    "legend.columnspacing": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.0,
    "lines.markersize": MARKER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.3,
    "pdf.fonttype": 42,  # TrueType: text stays text, and publishers take it
    "svg.hashsalt": "benchbench",
}
# Ink, lines beside it, grid, paper.
_INKS = {LIGHT: ("#000000", "#666666", "#dddddd", "#ffffff"), DARK: ("#e6eaf0", "#9aa4b2", "#30363d", "#0d1117")}


def print_style(theme: str = LIGHT) -> contextlib.AbstractContextManager[None]:
    """Matplotlib's settings for drawing and saving in a theme, independent of the user's own."""
    import matplotlib.style

    ink_color, muted_color, grid, paper_color = _INKS[theme]
    inks: dict[str, Any] = {
        "text.color": ink_color,
        "axes.labelcolor": ink_color,
        "axes.titlecolor": ink_color,
        "axes.edgecolor": muted_color,
        "xtick.color": muted_color,
        "ytick.color": muted_color,
        "xtick.labelcolor": ink_color,
        "ytick.labelcolor": ink_color,
        "grid.color": grid,
        "axes.facecolor": paper_color,
        "figure.facecolor": paper_color,
        "savefig.facecolor": paper_color,
        "axes.prop_cycle": f"cycler('color', {list(COLORS if theme == LIGHT else DARK_COLORS)})",
    }
    return matplotlib.style.context(["default", _STYLE | inks])


def ink() -> str:
    """Colour of text in the theme of the figure that is drawn."""
    return _setting("text.color")


def muted() -> str:
    """Colour of lines that are beside the point."""
    return _setting("axes.edgecolor")


def paper() -> str:
    """Colour of the background."""
    return _setting("axes.facecolor")


def colors() -> tuple[str, ...]:
    """`COLORS` as the theme of the figure that is drawn has them."""
    return DARK_COLORS if paper() == _INKS[DARK][-1] else COLORS


def _setting(name: Any) -> str:  # matplotlib's stubs list every name
    import matplotlib

    return str(matplotlib.rcParams[name])


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of an arm: never colour alone."""

    color: str
    marker: str
    line: Any

    def handle(self, label: str, line: bool = True) -> Line2D:
        """Its entry in a legend; without its line where it is drawn as points."""
        return line_handle(label, self.color, self.line if line else "none", self.marker)


def looks(results: pd.DataFrame) -> dict[str, Look]:
    """A look for each row of a suite's tables, the same in every figure."""
    cycle = zip(itertools.cycle(colors()), itertools.cycle(MARKERS), itertools.cycle(LINES), strict=False)
    return {row: Look(*look) for row, look in zip(dict.fromkeys(results["row"]), cycle, strict=False)}


def line_handle(label: str, color: str, line: Any, marker: str = "") -> Line2D:
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker=marker, linestyle=line, label=wrapped(label))


@dataclass(frozen=True)
class PanelLayout:
    """Labels and size of panels.

    Attributes:
        x, y: labels of the axes, on the outer panels.
        height: of a panel, inches.
        margin: space at the left beside that of numbers, inches.
        wide: over both columns, whatever the number of panels.
        across: panels side by side at the most.
    """

    x: str
    y: str
    height: float = 2.0
    margin: float = 0.0
    wide: bool = False
    across: int = ACROSS


def panels(
    titles: Sequence[str], handles: Sequence[Artist], layout: PanelLayout
) -> tuple[matplotlib.figure.Figure, list[Axes]]:
    """An empty figure with a panel for each title and one legend below, in one column if that is enough.

    Args:
        titles: of the panels; a single one is not drawn.
        handles: the legend's entries, with their labels.
        layout: labels of the axes and size of the panels.
    """
    import matplotlib.figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    width = SINGLE if len(titles) == 1 and len(handles) <= 8 and not layout.wide else DOUBLE
    down = math.ceil(len(titles) / layout.across)
    across = math.ceil(len(titles) / down)  # four panels are two by two
    columns, legend = legend_size([str(handle.get_label()) for handle in handles], width)
    figure = matplotlib.figure.Figure(figsize=(width, down * layout.height + legend), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for empty in axes[len(titles) :]:
        figure.delaxes(empty)
    for index, (axis, title) in enumerate(zip(axes, titles, strict=False)):
        if len(titles) > 1:
            axis.set_title(wrapped(title, int(15 * (width - layout.margin) / across)))
        if index % across == 0:
            axis.set_ylabel(layout.y)
        if index + across >= len(titles):  # nothing below it
            axis.set_xlabel(layout.x)
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)
    return figure, axes[: len(titles)]


def legend_size(labels: Sequence[str], width: float) -> tuple[int, float]:
    """As many columns as fit a width, and the height that a legend of them takes; inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    if not labels:
        return 1, 0.0
    lines = [line for label in labels for line in label.split("\n")]
    measure, font = TextToPath().get_text_width_height_descent, FontProperties(size=FONT)
    widest = max(measure(line, font, ismath=False)[0] for line in lines)
    columns = max(1, min(len(labels), int(width * 72 / (widest + 4 * FONT))))
    # Filled column by column, the first ones one longer.
    longest = math.ceil(len(labels) / columns)
    height = max(
        sum(label.count("\n") + 1 for label in labels[start : start + longest])
        for start in range(0, len(labels), longest)
    )
    return columns, (height + 0.5) * 1.5 * FONT / 72


def finish_layout(figure: matplotlib.figure.Figure) -> None:
    """Lays a figure out, unless that is done; it is not laid out again when it is drawn."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def wrapped(text: str, width: int = LABEL) -> str:
    """A text from a suite or a record as matplotlib draws it: in lines, and never as a formula."""
    return textwrap.fill(printable(text), width).replace("$", r"\$")


def spans_decades(values: Sequence[float]) -> bool:
    """True for positive numbers that belong on a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)


def number_axis(axis: Axes, values: Sequence[float], log: bool) -> None:
    """Numbers along x in plain figures: 0.01, 1, 1,000.

    Args:
        axis: a panel.
        values: along its x.
        log: on a logarithmic scale; the same for all panels of a figure.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if log:
        axis.set_xscale("log")
        few = not values or max(values) < 100 * min(values)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def unit_of(done: pd.DataFrame) -> str:
    """Unit of the hours of finished cells."""
    units = done.unit.unique()
    return str(units[0]) if len(units) == 1 else "device-hours"


def not_drawn(results: pd.DataFrame) -> list[str]:
    """A note that names the planned arms that are not in the figure, if there are any."""
    absent = []
    for (data, student, row), states in results.groupby(["data", "student", "row"], sort=False).status:
        if not (states == "done").any():
            state = "failed" if (states == "failed").any() else "not run"
            absent.append(f"{row} ({data}, {student}: {state})")
    names = "; ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return [f"without a finished run, and so not drawn: {names}"] if absent else []
