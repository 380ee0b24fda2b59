"""Labels beside points: near where there is room, led to their point where there is not, none where there is none."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchbench.reports.figures.labels import LabelledPoint, Surroundings, _crosses, _meet, label_points
from benchbench.reports.figures.style import FONT, print_style


def panel(places: dict[str, tuple[float, float]], lines=(), scale: str = "linear"):
    """A panel of 0..100 (1..100 if logarithmic) both ways with labelled points; and True if the labels fit."""
    with print_style():
        figure = matplotlib.figure.Figure(figsize=(3.25, 2.4))
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        axis.set(xlim=(1, 100), ylim=(1, 100), xscale=scale, autoscale_on=False)
        figure.draw_without_rendering()
        points = [LabelledPoint(text, *place, "#0072B2") for text, place in places.items()]
        centers = axis.transData.transform(list(places.values()))
        boxes = np.concatenate([centers - 4, centers + 4], 1)
        segments = np.array([np.ravel(axis.transData.transform(line)) for line in lines]).reshape(-1, 4)
        return axis, label_points(axis, points, Surroundings(boxes, segments))


def gap(axis, text: str, place: tuple[float, float]) -> float:
    """Letters between a label and a point."""
    (label,) = (each for each in axis.texts if each.get_text().replace("\n", " ") == text)
    box, target = label.get_window_extent(), axis.transData.transform(place)
    near = np.clip(target, (box.x0, box.y0), (box.x1, box.y1))
    return float(np.linalg.norm(near - target)) / (FONT * axis.figure.dpi / 72)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_point_alone_has_its_label_at_the_right(scale):
    axis, fits = panel({"alone": (10, 50)}, scale=scale)
    assert fits
    (label,) = axis.texts
    box, (x, y) = label.get_window_extent(), axis.transData.transform((10, 50))
    assert box.x0 > x
    assert box.y0 < y < box.y1
    assert gap(axis, "alone", (10, 50)) < 1
    assert axis.lines[:] == []


def test_at_the_edge_it_stands_inside():
    axis, fits = panel({"at the right": (98, 50), "at the top": (50, 98)})
    assert fits
    frame = axis.get_window_extent()
    for label in axis.texts:
        box = label.get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1


def test_a_label_is_nearest_to_its_point_or_led_to_it():
    places = {f"arm number {n}": (30 + 3 * (n % 3), 40 + 4 * (n // 3)) for n in range(7)}
    axis, fits = panel(places)
    assert fits
    led = {tuple(np.round(line.get_xydata()[1], 6)) for line in axis.lines}
    assert led
    for text, place in places.items():
        own = gap(axis, text, place)
        others = min(gap(axis, text, other) for other in places.values() if other != place)
        assert own < others or place in led, text


def test_a_line_is_not_covered_where_there_is_another_place():
    axis, fits = panel({"beside": (30, 50)}, lines=[[(30, 50), (95, 50)]])
    assert fits
    box, (_, y) = axis.texts[0].get_window_extent(), axis.transData.transform((30, 50))
    assert not box.y0 < y < box.y1


def test_no_label_where_one_has_no_room():
    axis, fits = panel({f"a label of a usual length, {n}": (50, 50) for n in range(60)})
    assert not fits
    assert list(axis.texts) + list(axis.lines) == []


def test_text_is_no_formula_and_long_text_is_wrapped():
    axis, fits = panel({"$x^2$ and a name that is longer than one line of a label is": (10, 50)})
    assert fits
    assert "\n" in axis.texts[0].get_text()
    assert r"\$" in axis.texts[0].get_text()


def test_segments_and_boxes():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10.0]])
    lines = np.array([[-5, 5, 40, 5], [5, 5, 6, 6], [-5, -5, -1, 20], [15, -5, 15, 20], [0, -5, 12, 8.0]])
    expected = [[True, True], [True, False], [False, False], [False, False], [True, False]]
    assert _crosses(lines[:, None], boxes).tolist() == expected
    others = np.array([[0, 10, 10, 0], [0, 1, 10, 11], [20, 0, 20, 9.0]])
    assert _meet(np.array([0, 0, 10, 10.0]), others).tolist() == [True, False, False]
