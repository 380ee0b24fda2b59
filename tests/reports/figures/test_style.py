"""Figures on paper: sizes, fonts, looks that do not rest on colour, and nothing that overlaps."""

from __future__ import annotations

import functools
import itertools

import matplotlib
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from benchbench.reports.figure import DOUBLE, SINGLE, THEMES
from benchbench.reports.figures.style import (
    COLORS,
    FONT,
    LINES,
    MARKERS,
    PanelLayout,
    colors,
    finish_layout,
    ink,
    looks,
    muted,
    panels,
    paper,
    print_style,
    wrapped,
)

LONG = "A/U with a very long name, ResNet-50 (IMAGENET1K_V2) + ViT-B/16 (linear_probe)"


def figure_with(titles: int, arms: int, label: str = "arm"):
    look = looks(pd.DataFrame({"row": [f"{label} {n}" for n in range(arms)]}))
    with print_style():
        handles = [style.handle(row) for row, style in look.items()]
        return panels([f"{label} {n}" for n in range(titles)], handles, PanelLayout("epoch", "accuracy (%)"))


@functools.cache
def drawn_with(titles: int, arms: int, label: str):
    """The same with a line in each panel, laid out and drawn once for all tests; none changes it."""
    figure, axes = figure_with(titles, arms, label)
    with print_style():
        for axis in axes:
            axis.plot([0, 100], [0, 100])
        finish_layout(figure)
        figure.draw_without_rendering()
    return figure, axes


def overlap(one, other) -> bool:
    """By more than a pixel."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > 1 and high > 1


@pytest.mark.parametrize(
    ("titles", "arms", "label"),
    [(1, 2, "arm"), (1, 46, "a method of many"), (2, 9, LONG), (4, 9, LONG), (8, 46, "a method of many")],
)
def test_nothing_overlaps_and_nothing_is_cut(titles, arms, label):
    figure, axes = drawn_with(titles, arms, label)
    assert len(axes) == titles
    boxes = [axis.get_tightbbox() for axis in axes] + [legend.get_window_extent() for legend in figure.legends]
    for one, other in itertools.combinations(boxes, 2):
        assert not overlap(one, other)
    for box in boxes:
        assert min(box.x0, box.y0) >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1
    assert min(axis.get_position().height * figure.get_figheight() for axis in axes) > 0.9


@pytest.mark.parametrize(("titles", "arms", "width"), [(1, 3, SINGLE), (1, 20, DOUBLE), (2, 3, DOUBLE)])
def test_widths_are_those_of_print(titles, arms, width):
    assert figure_with(titles, arms)[0].get_figwidth() == width


def test_no_text_is_smaller_than_seven_points():
    figure, _ = drawn_with(4, 9, LONG)
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
    assert min(sizes) >= FONT == 7


def test_looks_differ_by_more_than_colour():
    count = len(COLORS) * len(MARKERS)
    look = looks(pd.DataFrame({"row": [str(n) for n in range(count)] * 2}))
    assert len({(style.color, style.marker) for style in look.values()}) == count
    for one, other in itertools.pairwise(look.values()):
        assert one.color != other.color
        assert one.marker != other.marker
        assert one.line != other.line
    assert len(LINES) == len(set(map(str, LINES)))


def test_an_arm_looks_the_same_whatever_is_done():
    frame = pd.DataFrame({"row": ["a", "b", "c"], "status": ["missing", "done", "done"]})
    assert looks(frame)["c"] == looks(frame.assign(status="done"))["c"]


def test_settings_are_our_own_and_are_put_back(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    with print_style():
        assert matplotlib.rcParams["font.size"] == FONT
        assert matplotlib.rcParams["axes.facecolor"] == "#ffffff"
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    with print_style("dark"):
        assert matplotlib.rcParams["font.size"] == FONT
        assert matplotlib.rcParams["axes.facecolor"] == "#0d1117"
    assert matplotlib.rcParams["font.size"] == 30


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out_from_the_paper(theme):
    """WCAG: 7 for text at the best level; 3 for graphics, which Okabe and Ito's lighter colours miss on white."""
    with print_style(theme):
        assert contrast(ink(), paper()) > 12
        assert contrast(muted(), paper()) > 4.5
        assert min(contrast(color, paper()) for color in colors()) > (2 if theme == "light" else 4)
        assert len(set(colors())) == len(COLORS)


def test_themes_differ_in_colours_alone(monkeypatch):
    settings = {}
    for theme in THEMES:
        with print_style(theme):
            settings[theme] = dict(matplotlib.rcParams)
    light, dark = settings.values()
    differing = {name for name in light if light[name] != dark[name]}
    assert all("color" in name or name == "axes.prop_cycle" for name in differing), differing


def test_a_label_is_no_formula():
    """Set as a formula it would lose its dollars, and have a raised 2."""
    figure, _ = figure_with(1, 1)
    label, text, formula = (figure.text(0, 0, each) for each in (wrapped("$x^2$\n$y$"), "?x^2? ?y?", "$x^2$ $y$"))
    widths = [each.get_window_extent().width for each in (label, text, formula)]
    assert widths[0] > 1.5 * widths[2]
    assert widths[0] == pytest.approx(widths[1], rel=0.2)
