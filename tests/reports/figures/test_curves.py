"""Learning curves: means and bands over seeds, of what was measured on images that were not trained on if any were."""

from __future__ import annotations

import json

import pytest

from benchbench.reports.figures.curves import BANDS, curves, read_curve


def leave(lab, cell, *accuracies: float, name: str = "train_accuracy") -> None:
    """A curve as workers leave it."""
    rows = [{"epoch": n, "loss": 1.0, name: accuracy} for n, accuracy in enumerate(accuracies, 1)]
    lab.folder(cell.stage).curve.write_text("".join(json.dumps(row) + "\n" for row in rows))


def lines(figure) -> list[tuple[list[float], list[float]]]:
    (axis,) = figure.figure.axes
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines]


def test_mean_and_band(lab, drawn):
    lab.finish_arm("scratch", [0.5] * 3)
    for cell, last in zip(lab.cells("scratch"), (0.4, 0.5, 0.6), strict=True):
        leave(lab, cell, 0.2, last)
    figure = drawn(curves, lab)
    assert lines(figure) == [([1, 2], [pytest.approx(20), pytest.approx(50)])]
    (axis,) = figure.figure.axes
    (band,) = axis.collections
    corners = {(x, round(y, 6)) for x, y in band.get_paths()[0].vertices}
    assert corners == {(1, 20), (2, 40), (2, 60)}
    assert axis.get_ylabel() == "training accuracy (%)"


def test_validation_accuracy_where_there_is_a_split(make_lab, drawn):
    lab = make_lab("selection={rule: best, validation: 0.25}")
    lab.finish_arm("scratch", [0.5])
    leave(lab, lab.cells("scratch")[0], 0.3, 0.4, name="validation_accuracy")
    figure = drawn(curves, lab)
    assert lines(figure)[0][1] == [pytest.approx(30), pytest.approx(40)]
    assert figure.figure.axes[0].get_ylabel() == "validation accuracy (%)"


def test_one_seed_has_no_band(lab, drawn):
    lab.finish_arm("scratch", [0.5])
    leave(lab, lab.cells("scratch")[0], 0.3, 0.4)
    assert len(drawn(curves, lab).figure.axes[0].collections) == 0


def test_the_first_stage_of_a_two_stage_method_is_left_out(lab):
    lab.finish_arm("scratch", [0.5])
    cell = lab.cells("scratch")[0]
    rows = [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 1.0, "train_accuracy": 0.25}]
    lab.folder(cell.stage).curve.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert dict(read_curve(lab.store, cell.stage, "train_accuracy")) == {1: 0.25}


@pytest.mark.parametrize(
    "content", ['{"epoch": 1, "train_', '{"epoch": 1}', "[]", '{"epoch": "x", "train_accuracy": 1}']
)
def test_a_damaged_curve_is_counted(lab, drawn, content):
    lab.finish_arm("scratch", [0.5, 0.5])
    leave(lab, lab.cells("scratch")[0], 0.3, 0.4)
    lab.folder(lab.cells("scratch")[1].stage).curve.write_text(content)
    figure = drawn(curves, lab)
    assert "1 of the curves cannot be read" in figure.notes
    assert len(lines(figure)) == 1


def test_without_a_curve(finished, drawn):
    assert drawn(curves, finished) is None  # records alone
    for cell in finished.plan.cells:
        finished.folder(cell.stage).curve.write_text("")  # tested as they are, without an epoch
    assert drawn(curves, finished) is None


def test_many_arms_have_no_bands(make_lab, drawn):
    count = BANDS + 1
    lab = make_lab(arms={f"arm {n}": {"method": "scratch", "recipe": {"epochs": n + 1}} for n in range(count)})
    for n in range(count):
        lab.finish_arm(f"arm {n}", [0.5, 0.5])
        for cell in lab.cells(f"arm {n}")[:2]:
            leave(lab, cell, 0.3, 0.4)
    figure = drawn(curves, lab)
    (axis,) = figure.figure.axes
    assert (len(axis.lines), len(axis.collections)) == (count, 0)
    assert any("no bands: over 12 arms" in note for note in figure.notes)


def test_epochs_are_whole_numbers(lab, drawn):
    lab.finish_arm("scratch", [0.5])
    leave(lab, lab.cells("scratch")[0], 0.3, 0.4)
    (axis,) = drawn(curves, lab).figure.axes
    assert all(float(tick).is_integer() for tick in axis.get_xticks())
