"""Accuracy against hours: where the points are, what their bars say, and which arms the fronts go through."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from benchbench.reports.figures.pareto import front, pareto


def points(axis) -> dict[str, list[tuple[float, float, bool]]]:
    """Markers of each colour: where they are, and whether they are filled."""
    marks: dict[str, list[tuple[float, float, bool]]] = {}
    for line in axis.lines:
        if line.get_marker() not in ("None", "", None, "|", "_") and len(line.get_xdata()) == 1:
            place = float(line.get_xdata()[0]), float(line.get_ydata()[0])
            filled = to_hex(line.get_markerfacecolor()) != "#ffffff"
            marks.setdefault(to_hex(line.get_color()), []).append((*place, filled))
    return marks


def fronts(axis) -> list[list[tuple[float, float]]]:
    lines = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    return [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in lines]


def legend(figure) -> dict[str, str]:
    """Colours by label."""
    (box,) = figure.figure.legends
    return {
        text.get_text(): to_hex(handle.get_color())
        for text, handle in zip(box.get_texts(), box.legend_handles, strict=True)
    }


def test_hours_with_and_without_pre_training(finished, drawn):
    figure = drawn(pareto, finished)
    (axis,) = figure.figure.axes
    colors = legend(figure)
    marks = points(axis)
    assert marks[colors["scratch"]] == [(2.0, pytest.approx(200 / 3), True)]
    assert marks[colors["distil, big (scratch)"]] == [(5.0, pytest.approx(70), True)]  # 3 and a third of 6
    assert sorted(marks[colors["tune"]]) == [(4.0, pytest.approx(80), True), (6.0, pytest.approx(80), False)]
    assert sorted(marks[colors["probe"]]) == [(0.5, pytest.approx(40), True), (2.5, pytest.approx(40), False)]


def test_the_fronts(finished, drawn):
    without, with_pretraining = fronts(drawn(pareto, finished).figure.axes[0])
    assert [x for x, _ in without] == [0.5, 2.0, 4.0]  # distillation costs 5 and gives less than fine-tuning
    assert [x for x, _ in with_pretraining] == [2.0, 5.0, 6.0]


def test_bars_are_standard_deviations(finished, drawn):
    figure = drawn(pareto, finished)
    (axis,) = figure.figure.axes
    bars = {each.lines[0].get_xdata()[0]: each for each in axis.containers if isinstance(each, ErrorbarContainer)}
    across, up = (segments.get_segments()[0] for segments in bars[2.0].lines[2])
    assert [x for x, _ in across] == pytest.approx([1.0, 3.0])
    assert [y for _, y in up] == pytest.approx([66.667 - 20.817, 66.667 + 20.817], abs=1e-3)


def test_one_seed_has_no_bars(make_lab, drawn):
    lab = make_lab("seeds=[0]")
    lab.finish_arm("scratch", [0.5], [2.0])
    (axis,) = drawn(pareto, lab).figure.axes
    assert all(not each.lines[2] for each in axis.containers)
    assert list(itertools.chain(*points(axis).values())) == [(2.0, 50.0, True)]


def test_what_has_no_price_is_drawn_as_it_is(lab, drawn):
    lab.finish_arm("tune", [0.5, 0.6, 0.7], [4.0] * 3)  # there is no calibration
    figure = drawn(pareto, lab)
    (axis,) = figure.figure.axes
    assert list(itertools.chain(*points(axis).values())) == [(4.0, pytest.approx(60), True)]
    without, *others = fronts(axis)
    assert without == [(4.0, pytest.approx(60))]
    assert others == []


def test_what_is_lost_is_told(finished, drawn):
    for cell in finished.cells("probe"):
        finished.folder(cell.stage).record.unlink()
    finished.fail(finished.cells("probe")[0].stage, "no memory")
    figure = drawn(pareto, finished)
    assert "probe" not in legend(figure)
    assert "without a finished run, and so not drawn: probe (cifar, small: failed)" in figure.notes


def test_nothing_has_run(lab, drawn):
    assert drawn(pareto, lab) is None


@pytest.mark.parametrize(("hours", "scale"), [([1.0, 2.0, 9.0], "linear"), ([1.0, 2.0, 11.0], "log")])
def test_hours_over_more_than_a_decade_are_logarithmic(make_lab, drawn, hours, scale):
    lab = make_lab(arms={name: {"method": "scratch", "recipe": {"epochs": n + 1}} for n, name in enumerate("abc")})
    for name, each in zip("abc", hours, strict=True):
        lab.finish_arm(name, [0.5], [each])
    (axis,) = drawn(pareto, lab).figure.axes
    assert axis.get_xscale() == scale
    labels = [text.get_text() for text in axis.get_xticklabels(which="both")]
    assert not [label for label in labels if "^" in label or "$" in label]


def test_a_panel_for_each_data_set_and_student(make_lab, drawn):
    students = {"a": {"model": "timm/test_efficientnet"}, "b": {"model": "timm/test_vit"}}
    lab = make_lab(students=students, arms={"scratch": {"method": "scratch"}})
    for student, hours in (("a", 1.0), ("b", 2.0)):
        lab.finish_arm("scratch", [0.5], [hours], student=student)
    axes = drawn(pareto, lab).figure.axes
    assert [axis.get_title() for axis in axes] == ["cifar, a", "cifar, b"]
    assert [next(iter(points(axis).values()))[0][0] for axis in axes] == [1.0, 2.0]


def test_the_front_is_what_nothing_beats():
    assert front([(3, 50), (1, 40), (2, 40), (2, 60), (4, 60), (4, 61)]) == [(1, 40), (2, 60), (4, 61)]
    assert front([]) == []
