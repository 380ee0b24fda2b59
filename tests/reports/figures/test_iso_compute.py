"""Accuracy against hours, with the crossings of ladders."""

from __future__ import annotations

import pytest
from matplotlib.container import ErrorbarContainer

from benchbench.reports.figures.iso_compute import CROSSING, RING, iso_compute
from tests.reports.ladders import ARMS, KD, LINES, MEETING, finish, make_ladders


def rings(axis) -> list:
    return [line for line in axis.lines if line.get_marker() == "o" and line.get_markersize() == RING]


def lines(axis) -> list[list[tuple[float, float]]]:
    bars = [each for each in axis.containers if isinstance(each, ErrorbarContainer)]
    return [list(zip(*each.lines[0].get_data(), strict=True)) for each in bars]


def test_lines_points_and_the_crossing(make_lab, drawn):
    lab = make_ladders(make_lab)
    finish(lab, teacher=20.0)
    lab.calibrate(images_per_second=50)
    figure = drawn(iso_compute, lab)
    given, paid = figure.figure.axes
    assert [axis.get_title() for axis in (given, paid)] == ["as given", "all paid"]
    scratch, probe, tune, kd = lines(given)
    assert tune == [(1, pytest.approx(56)), (10, pytest.approx(60)), (100, pytest.approx(64))]
    assert [hours for hours, _ in kd] == [1, 10, 100]
    assert probe == [(1, pytest.approx(45))]
    assert len(scratch) == 3
    assert [hours for hours, _ in lines(paid)[3]] == pytest.approx([21, 30, 120])  # the teacher in full
    assert [hours for hours, _ in lines(paid)[2]] == pytest.approx([3, 12, 102])  # and the pre-training
    (ring,) = rings(given)
    assert ring.get_xydata()[0].tolist() == [pytest.approx(MEETING), pytest.approx(62)]
    assert len(rings(paid)) == 1
    assert given.get_xscale() == "log"
    legend = [text.get_text() for text in figure.figure.legends[0].get_texts()]
    assert legend == ["scratch", "probe", "tune", "KD, big (scratch)", CROSSING]


def test_bars_and_a_heading_that_says_that_something_is_left_out(make_lab, drawn):
    lab = make_ladders(make_lab, {name: ARMS[name] for name in ("tune", "KD")})
    finish(lab, {name: LINES[name] for name in ("tune", "KD")})
    figure = drawn(iso_compute, lab)
    bars = [each for each in figure.figure.axes[0].containers if isinstance(each, ErrorbarContainer)]
    low, high = bars[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(55.98), pytest.approx(56.02))  # of seeds at 55.98, 56 and 56.02
    assert figure.figure.axes[1].get_title() == "all paid that is known"
    assert "all paid leaves out the pre-training of the student where it is not known: tune" in figure.notes


def test_two_panels_for_each_data_set(make_lab, drawn):
    data = {"whole": {"source": "cifar10_subset"}, "few": {"source": "cifar10_subset", "per_class": 4}}
    lab = make_ladders(make_lab, data=data)
    for label in data:
        finish(lab, data=label)
    lab.calibrate(images_per_second=50)
    titles = [axis.get_title() for axis in drawn(iso_compute, lab).figure.axes]
    assert titles == [f"{label}, small: {hours}" for label in data for hours in ("as given", "all paid")]


def test_none_without_a_line(make_lab, drawn, finished):
    assert drawn(iso_compute, finished) is None
    lab = make_ladders(make_lab, {"KD": KD | {"recipe": {"epochs": [1, 2]}}})
    assert drawn(iso_compute, lab) is None
    finish(lab, {"KD": (50, 60)})
    assert drawn(iso_compute, lab) is not None  # one ladder alone is a line without a crossing
