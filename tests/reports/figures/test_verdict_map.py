"""The map of verdicts: colour, mark and number in each cell."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

from benchbench.reports.figure import DARK
from benchbench.reports.figures.style import COLORS, DARK_COLORS, print_style
from benchbench.reports.figures.verdict_map import readable_on, verdict_map
from tests.reports.conftest import STUDENT
from tests.reports.ladders import KD

STUDENTS = {name: STUDENT | {"recipe": {"lr": lr}} for name, lr in zip("abcdefg", (1, 2, 3, 4, 5, 6, 7), strict=True)}
ARMS = {"tune": {"method": "finetune"}, "distil": KD}


@pytest.fixture
def every_verdict(make_lab):
    lab = make_lab(students=STUDENTS, arms=ARMS)
    lab.teach()
    lab.calibrate(images_per_second=50)
    tuned = [0.600, 0.601, 0.602]
    for student, distilled, hours in (
        ("a", [0.700, 0.701, 0.702], 5.0),
        ("b", [0.600, 0.601, 0.602], 5.0),
        ("c", [0.540, 0.600, 0.660], 5.0),
        ("d", [0.500, 0.501, 0.502], 5.0),
        ("e", [0.700, 0.701, 0.702], 0.1),
        ("f", [0.611], 5.0),
    ):
        lab.finish_arm("tune", tuned, [0.9] * 3, student=student)
        lab.finish_arm("distil", distilled, [hours] * 3, student=student)
    return lab


def test_mark_number_and_colour_of_every_verdict(every_verdict, drawn):
    figure = drawn(verdict_map, every_verdict)
    given = figure.figure.axes[0]
    assert [text.get_text() for text in given.texts] == [
        "▲ +10.0",
        "= +0.0",
        "? -0.1",
        "▼ -10.0",
        "◆ no fine-tune\nthat cheap",
        "○ +1.0",
        "–",
    ]
    colors = [to_hex(patch.get_facecolor()).upper() for patch in given.patches]
    assert (colors[0], colors[1], colors[3], colors[4]) == (COLORS[0], COLORS[2], COLORS[1], COLORS[5])
    assert len(set(colors)) == 6  # what is not tested and what is not finished are both blank
    legend = [text.get_text() for text in figure.figure.legends[0].get_texts()]
    assert legend == [
        "▲ surpasses",
        "◆ no fine-tune that cheap",
        "= matches",
        "? inconclusive",
        "▼ falls short",
        "○ n too small to test",
        "– not finished",
    ]
    assert [tick.get_text() for tick in given.get_xticklabels()] == list(STUDENTS)


def test_a_worse_match_says_so_and_the_dark_theme_has_colours_of_its_own(make_lab):
    lab = make_lab("statistics={margin: 5}", students={name: STUDENTS[name] for name in "ab"}, arms=ARMS)
    lab.teach()
    lab.finish_arm("tune", [0.620, 0.621, 0.622], student="a")
    lab.finish_arm("distil", [0.600, 0.601, 0.602], student="a")
    with print_style(DARK):
        given = verdict_map(lab.frame(), lab.plan, lab.store).figure.axes[0]
    assert given.texts[0].get_text() == "= -2.0\n(worse)"
    assert to_hex(given.patches[0].get_facecolor()).upper() == DARK_COLORS[2]


def test_text_stands_out_from_every_colour():
    """WCAG 2.2 asks for a contrast of 4.5; luminances computed by hand for black, white and one colour."""
    assert readable_on("#ffffff") == "#000000"
    assert readable_on("#000000") == "#ffffff"
    for color in (*COLORS, *DARK_COLORS, "#666666", "#9aa4b2"):
        channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        contrast = (light + 0.05) / 0.05 if readable_on(color) == "#000000" else 1.05 / (light + 0.05)
        assert contrast >= 4.5, color


def test_none_for_one_cell(finished, drawn):
    assert drawn(verdict_map, finished) is None
