"""Accuracy against hours: where the points are, what their bars say, and which arms the fronts go through."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.transforms import Bbox

from benchbench.reports.figure import DARK, DOUBLE, LIGHT, SINGLE, Figure
from benchbench.reports.figures.pareto import (
    COUNTED,
    GIVEN,
    MOST_LABELS,
    MOST_NARROW,
    MOST_PANELS,
    front,
    pareto,
    pareto_figure,
)
from benchbench.reports.figures.style import MARKERS, print_style


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


def colors_of(axis) -> dict[str, str]:
    """Colours by arm."""
    bars = [each for each in axis.containers if isinstance(each, ErrorbarContainer)]
    return {each.get_label(): to_hex(each.lines[0].get_color()) for each in bars}


def labels(axis) -> list[str]:
    """Texts beside the points."""
    return [text.get_text().replace("\n", " ") for text in axis.texts]


def legend(figure) -> list[str]:
    return [text.get_text() for box in figure.figure.legends for text in box.get_texts()]


@pytest.fixture(scope="module")
def of_finished() -> dict[str, Figure]:
    """The figure of the lab in which all is done, once a test has drawn it."""
    return {}


@pytest.fixture
def figure(finished, drawn, of_finished) -> Figure:
    """The figure of the lab in which all is done, drawn once; tests only look at it."""
    if "pareto" not in of_finished:
        of_finished["pareto"] = drawn(pareto, finished)
    return of_finished["pareto"]


def test_hours_with_and_without_pre_training(figure):
    (axis,) = figure.figure.axes
    colors, marks = colors_of(axis), points(axis)
    assert marks[colors["scratch"]] == [(2.0, pytest.approx(200 / 3), True)]
    assert marks[colors["distil, big (scratch)"]] == [(5.0, pytest.approx(70), True)]  # 3 and a third of 6
    assert sorted(marks[colors["tune"]]) == [(4.0, pytest.approx(80), True), (6.0, pytest.approx(80), False)]
    assert sorted(marks[colors["probe"]]) == [(0.5, pytest.approx(40), True), (2.5, pytest.approx(40), False)]


def test_the_fronts(figure):
    without, with_pretraining = fronts(figure.figure.axes[0])
    assert [x for x, _ in without] == [0.5, 2.0, 4.0]  # distillation costs 5 and gives less than fine-tuning
    assert [x for x, _ in with_pretraining] == [2.0, 5.0, 6.0]


def test_bars_are_standard_deviations(figure):
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
    assert "probe" not in labels(figure.figure.axes[0])
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


def test_labels_stand_beside_the_points(figure):
    (axis,) = figure.figure.axes
    assert labels(axis) == ["scratch", "probe", "tune", "distil, big (scratch)"]
    assert legend(figure) == [GIVEN, COUNTED]  # what the two kinds of points and of lines stand for
    assert figure.figure.get_figwidth() == SINGLE
    assert axis.get_title(loc="left") == "cifar, small"


def test_without_a_price_there_is_no_legend(lab, drawn):
    lab.finish_arm("scratch", [0.5, 0.6, 0.7])
    assert legend(drawn(pareto, lab)) == []


def many(count: int, panels: int = 1) -> pd.DataFrame:
    """Results of three seeds, crowded, with names of a usual length."""
    draw = np.random.RandomState(0)
    rows = []
    for panel, arm in itertools.product(range(panels), range(count)):
        hours, accuracy = np.exp(0.4 * draw.randn()), 0.7 + 0.02 * draw.randn()
        common = {"row": f"A/U {arm}, ResNet-50 (finetune)", "data": f"cifar{panel}", "student": "MobileNetV2"}
        costs = {
            "own_hours": hours,
            "shared_stage_hours": 0.1,
            "pretraining_hours": 9.0 * (arm < 2),
            "unit": "GPU-hours",
            "status": "done",
        }
        rows += [common | costs | {"accuracy": accuracy + spread} for spread in (-0.002, 0, 0.002)]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("count", "panels", "width", "theme"),
    [(MOST_NARROW, 1, SINGLE, LIGHT), (MOST_LABELS, 1, DOUBLE, DARK), (6, MOST_PANELS, DOUBLE, LIGHT)],
)
def test_no_label_covers_another_or_a_marker(count, panels, width, theme):
    with print_style(theme):
        figure = pareto_figure(many(count, panels), "many").figure
    assert figure.get_figwidth() == width
    for axis in figure.axes:
        assert len(axis.texts) == count
        texts = [text.get_window_extent() for text in axis.texts]
        markers = [
            Bbox.from_bounds(x - 5, y - 5, 10, 10)
            for line in axis.lines
            if line.get_marker() in MARKERS
            for x, y in axis.transData.transform(line.get_xydata())
        ]
        for one, other in itertools.combinations(texts, 2):
            assert not one.overlaps(other)
        assert not any(text.overlaps(marker) for text in texts for marker in markers)
        frame = axis.get_window_extent()
        assert all(frame.x0 <= text.x0 and text.x1 <= frame.x1 for text in texts)
        assert all(frame.y0 <= text.y0 and text.y1 <= frame.y1 for text in texts)


@pytest.mark.parametrize(("count", "panels"), [(MOST_LABELS + 1, 1), (3, MOST_PANELS + 1)])
def test_too_many_have_a_legend(count, panels):
    with print_style():
        figure = pareto_figure(many(count, panels), "many")
    assert [len(axis.texts) for axis in figure.figure.axes] == [0] * panels
    assert len(legend(figure)) == count + 2


def test_points_that_leave_no_room_have_a_legend():
    frame = many(MOST_NARROW)
    frame["row"] = [f"{row} of a suite whose names are as long as sentences, and longer than that" for row in frame.row]
    with print_style():
        figure = pareto_figure(frame, "many")
    assert len(legend(figure)) == MOST_NARROW + 2
    assert labels(figure.figure.axes[0]) == []


def test_the_front_is_what_nothing_beats():
    assert front([(3, 50), (1, 40), (2, 40), (2, 60), (4, 60), (4, 61)]) == [(1, 40), (2, 60), (4, 61)]
    assert front([]) == []
