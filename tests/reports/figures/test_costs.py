"""Device-hours by section of the records, whatever the sections are called."""

from __future__ import annotations

import json

import pytest

from benchbench.reports.figures.costs import (
    CHARGED,
    MOST_SECTIONS,
    OTHER,
    SHARED,
    costs,
    hours_by_section,
    section_fills,
)
from benchbench.reports.summary import finished as done_cells
from benchbench.reports.tables.ledger import SECTIONS

# Hours by section, in the order of a record.
SMALL = {"setup": 0.1, "compile": 2.0, "data": 3.0, "teacher": 4.0, "evaluation": 5.0, "checkpoint": 0.2}


def bars(axis) -> list[list[float]]:
    """Widths of each line, one an arm."""
    return [[patch.get_width() for patch in container] for container in axis.containers]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.figure.legends[0].get_texts()]


def test_lines_and_shares(lab, drawn):
    lab.finish(lab.teacher(), hours=6.0)
    lines = {"student step": 3600.0, "data": 1800.0, "loading": 360.0}
    for cell in lab.cells("distil"):
        lab.finish(cell.stage, hours=1.5, alone_seconds=lines)
    lab.finish_arm("scratch", [0.5] * 3, [1.0, 2.0, 3.0])
    figure = drawn(costs, lab)
    # In the ledger's words, where it has any.
    assert legend(figure) == ["train", "student step", SECTIONS["data"], SECTIONS["loading"], SHARED]
    (axis,) = figure.figure.axes
    # By arm: scratch 2 hours of training; distillation 1.6 of its own, and a third of the teacher's 6.
    assert bars(axis) == [[2, 0], [0, 1], [0, 0.5], [0, pytest.approx(0.1)], [0, 2]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["scratch", "distil, big (scratch)"]
    (ticks,) = axis.lines
    assert list(ticks.get_xdata()) == [2, 3.5]  # what is charged, without loading
    assert axis.get_ylim()[0] > axis.get_ylim()[1]  # the first arm on top


def test_six_colours_at_most(lab, drawn):
    """The smallest sections are one; training has the same colour whatever else there is."""
    lines = {name: 3600.0 * hours for name, hours in SMALL.items()}
    lab.finish(lab.cells("scratch")[0].stage, hours=10.0, alone_seconds=lines | {"student": 36000.0})
    figure = drawn(costs, lab)
    names = [SECTIONS["teacher"], SECTIONS["student"], SECTIONS["evaluation"], SECTIONS["compile"], SECTIONS["data"]]
    assert legend(figure) == [*sorted(names, key=[SECTIONS[name] for name in (*SMALL, "student")].index), OTHER]
    (axis,) = figure.figure.axes
    fills = {patch.get_facecolor() for container in axis.containers for patch in container}
    assert len(fills) == len(axis.containers) == MOST_SECTIONS
    widths = [container.patches[0].get_width() for container in axis.containers]
    assert sum(widths) == pytest.approx(10 + sum(SMALL.values()))
    assert widths[-1] == pytest.approx(SMALL["setup"] + SMALL["checkpoint"])
    assert "other: set-up, checkpoints and weights" in figure.notes
    fewer = section_fills(["student", SHARED])
    assert fewer["student"] == section_fills(["loading", "student", OTHER, SHARED])["student"]


def test_hours_are_devices_times_time(lab):
    lab.finish(lab.cells("scratch")[0].stage, alone_seconds={"train": 3600.0}, devices=4)
    frame = hours_by_section(done_cells(lab.frame()), lab.store)
    assert frame.train.tolist() == [4.0]
    assert list(frame.columns) == ["train", SHARED, CHARGED]


def test_a_record_that_is_damaged_since_is_left_out(finished):
    done = done_cells(finished.frame())
    record = finished.folder(finished.cells("scratch")[0].stage).record
    record.write_text(json.dumps({"cost": {"alone_seconds": {"train": "long"}, "devices": 1}}))
    assert len(hours_by_section(done, finished.store)) == len(done) - 1


def test_nothing_has_run(lab, drawn):
    assert drawn(costs, lab) is None


def test_panels_have_the_same_bars(make_lab, drawn):
    students = {"a": {"model": "timm/test_efficientnet"}, "b": {"model": "timm/test_vit"}}
    arms = {name: {"method": "scratch", "recipe": {"epochs": n + 1}} for n, name in enumerate(("one", "two"))}
    lab = make_lab(students=students, arms=arms)
    lab.finish_arm("one", [0.5], [1.0], student="a")
    lab.finish_arm("two", [0.5], [2.0], student="b")
    figure = drawn(costs, lab)
    first, second = figure.figure.axes
    assert (bars(first), bars(second)) == ([[1, 0]], [[0, 2]])
    assert [label.get_text() for label in first.get_yticklabels()] == ["one", "two"]
    shown = [any(tick.label1.get_visible() for tick in axis.yaxis.get_major_ticks()) for axis in (first, second)]
    assert shown == [True, False]
    assert any("one (cifar, b: not run); two (cifar, a: not run)" in note for note in figure.notes)
