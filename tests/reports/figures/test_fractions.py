"""Accuracy against training images."""

from __future__ import annotations

import pytest
from matplotlib.container import ErrorbarContainer

from benchbench.reports.figures.fractions import fractions

DATA = {
    "whole": {"source": "cifar10_subset"},
    "few": {"source": "cifar10_subset", "per_class": 4},
    "tenth": {"source": "cifar10_subset", "fraction": 0.1},
}


def test_a_line_for_each_arm(make_lab, drawn):
    lab = make_lab(data=DATA)
    lab.finish_arm("scratch", [0.5, 0.6, 0.7], data="whole")
    lab.finish_arm("scratch", [0.2], data="few")
    lab.finish_arm("tune", [0.8], data="tenth")
    figure = drawn(fractions, lab)
    (axis,) = figure.figure.axes
    bars = [each for each in axis.containers if isinstance(each, ErrorbarContainer)]
    places = [list(zip(*each.lines[0].get_data(), strict=True)) for each in bars]
    assert places == [[(40, pytest.approx(20)), (1000, pytest.approx(60))], [(100, pytest.approx(80))]]
    spans = [segment[:, 1] for segment in bars[0].lines[2][0].get_segments() if len(segment)]
    assert list(spans[-1]) == [pytest.approx(50), pytest.approx(70)]
    assert axis.get_xscale() == "log"  # 40 to 1,000
    assert [text.get_text() for text in figure.figure.legends[0].get_texts()] == ["scratch", "tune"]
    assert any("probe (whole, small: not run)" in note for note in figure.notes)


def test_nothing_to_draw(make_lab, drawn):
    lab = make_lab(data=DATA)
    assert drawn(fractions, lab) is None
    lab = make_lab(data={"whole": DATA["whole"]})
    lab.finish_arm("scratch", [0.5], data="whole")
    assert drawn(fractions, lab) is None
