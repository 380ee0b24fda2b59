"""The GPU-hour table: own cost, shares of stages, estimates of pre-training, and ratios to fine-tuning."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.gpu_hours import gpu_hours
from tests.reports.table_texts import texts


def test_every_column(finished):
    table = gpu_hours(finished.frame(), finished.plan)
    assert table.title == "GPU-hours of one run of tiny"
    assert table.columns == [
        "arm",
        "own",
        "with stages",
        "× fine-tune",
        "pre-training (est.)",
        "total",
        "× pre-train + fine-tune",
    ]
    # Fine-tuning takes 4 hours, 6 with its pre-training; the teacher's 6 hours are shared by three seeds.
    assert texts(table) == {
        "scratch": ["2.00 ± 1.00 (n=3)", "2.00", "0.50", "0", "2.00", "0.33"],
        "probe": ["0.500 ± 0.000 (n=3)", "0.500", "0.12", "2.00", "2.50", "0.42"],
        "tune": ["4.00 ± 0.00 (n=3)", "4.00", "1.00", "2.00", "6.00", "1.00"],
        "distil, big (scratch)": ["3.00 ± 0.00 (n=3)", "5.00", "1.25", "0", "5.00", "0.83"],
    }


def test_the_reference_is_the_first_arm_that_fine_tunes(make_lab):
    lab = make_lab("arms.longer={method: finetune, recipe: {epochs: 3}}")
    lab.finish_arm("tune", [0.5] * 3, [2.0] * 3)
    lab.finish_arm("longer", [0.5] * 3, [8.0] * 3)
    rows = texts(gpu_hours(lab.frame(), lab.plan))
    assert (rows["tune"][2], rows["longer"][2]) == ("1.00", "4.00")


def test_the_reference_is_no_distilled_student_that_is_fine_tuned(chained):
    rows = texts(gpu_hours(chained.frame(), chained.plan))
    # The distilled student takes 3 hours, and six cells share the teacher's 6.
    assert rows["distil + tune"] == ["1.00 ± 0.00 (n=3)", "5.00", "1.25", "0", "5.00", "0.83"]
    assert rows["tune"] == ["4.00 ± 0.00 (n=3)", "4.00", "1.00", "2.00", "6.00", "1.00"]


def test_each_student_has_its_own_reference(make_lab):
    student = {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}
    arms = {"scratch": {"method": "scratch"}, "tune": {"method": "finetune"}}
    lab = make_lab(students={"a": student, "b": {**student, "input_size": 64}}, arms=arms)
    for name, hours in (("a", 2.0), ("b", 8.0)):
        lab.finish_arm("scratch", [0.5] * 3, [4.0] * 3, student=name)
        lab.finish_arm("tune", [0.5] * 3, [hours] * 3, student=name)
    table = gpu_hours(lab.frame(), lab.plan)
    assert (table.columns[:3], table.labels) == (["data", "student", "arm"], 3)
    assert [[entry.text for entry in entries[:3]] + [entries[5].text] for entries in table.rows] == [
        ["cifar", "a", "scratch", "2.00"],
        ["cifar", "a", "tune", "1.00"],
        ["cifar", "b", "scratch", "0.50"],
        ["cifar", "b", "tune", "1.00"],
    ]


def test_an_arm_of_one_student_has_no_row_of_another(make_lab):
    student = {"model": "timm/test_efficientnet"}
    arms = {"scratch": {"method": "scratch"}, "longer": {"method": "scratch", "students": "b", "recipe": {"epochs": 3}}}
    lab = make_lab(students={"a": student, "b": {**student, "input_size": 64}}, arms=arms)
    table = gpu_hours(lab.frame(), lab.plan)
    rows = [[entry.text for entry in entries[1:3]] for entries in table.rows]
    assert rows == [["a", "scratch"], ["b", "scratch"], ["b", "longer"]]


def test_what_is_not_known_is_not_available(finished, make_lab):
    # Without a throughput the pre-training of what fine-tunes has no price, and so the total has none.
    for key, stage in finished.plan.stages.items():
        if stage.kind == "calibration":
            finished.folder(key).record.unlink()
    table = gpu_hours(finished.frame(), finished.plan)
    rows = texts(table)
    assert rows["tune"] == ["4.00 ± 0.00 (n=3)", "4.00", "1.00", "n/a", "n/a", "n/a"]
    assert rows["scratch"] == ["2.00 ± 1.00 (n=3)", "2.00", "0.50", "0", "2.00", "n/a"]
    assert any(note.startswith("n/a: ") for note in table.notes)


def test_without_an_arm_that_fine_tunes_there_is_no_ratio(make_lab):
    lab = make_lab(arms={"scratch": {"method": "scratch"}})
    lab.finish_arm("scratch", [0.5, 0.5])
    assert texts(gpu_hours(lab.frame(), lab.plan)) == {
        "scratch": ["1.00 ± 0.00 (n=2, 1 missing)", "1.00", "n/a", "0", "1.00", "n/a"]
    }


def test_lost_cells_are_shown(lab):
    lab.finish_arm("scratch", [0.5], [1.5])
    lab.fail(lab.cells("tune")[0].stage, "out of memory")
    rows = texts(gpu_hours(lab.frame(), lab.plan))
    assert rows["scratch"][0] == "1.50 (n=1, 2 missing)"
    assert rows["tune"] == ["failed", *["–"] * 5]
    assert rows["probe"] == rows["distil, big (scratch)"] == ["–"] * 6


def test_nothing_has_run(lab):
    table = gpu_hours(lab.frame(), lab.plan)
    assert table.title == "CPU-hours of one run of tiny"  # what it would run on
    assert set(map(tuple, texts(table).values())) == {("–",) * 6}


def test_units_that_differ_are_called_device_hours(lab):
    lab.finish(lab.cells("scratch")[0].stage)
    lab.finish(lab.cells("scratch")[1].stage, unit="CPU-hours")
    assert gpu_hours(lab.frame(), lab.plan).title.startswith("device-hours of ")


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (1234.5, "1,234"),
        (123.45, "123"),
        (12.345, "12.3"),
        (1.2345, "1.23"),
        (0.012345, "0.0123"),
        (1.2e-5, "0.0000120"),
    ],
)
def test_three_significant_digits(lab, hours, text):
    lab.finish_arm("scratch", [0.5], [hours])
    assert texts(gpu_hours(lab.frame(), lab.plan))["scratch"][1] == text


def test_notes_tell_estimates_from_measurements(finished):
    notes = "\n".join(gpu_hours(finished.frame(), finished.plan).notes)
    assert "pre-training of small: an estimate: 36,000 images × 10 epochs at 32 px (a paper)" in notes
    assert "measured here" in notes
    assert "Big GPU" in notes
    assert "divided by the runs of this suite that share it" in notes
    assert "n/a" not in notes


def test_what_runs_side_by_side_has_its_cost_here_beside_that_alone(lab):
    for cell in lab.cells("scratch"):
        lab.finish(cell.stage, hours=4.0, device_hours=1.5, cohort=3)
    table = gpu_hours(lab.frame(), lab.plan)
    assert table.columns[:4] == ["arm", "own", "here", "with stages"]
    assert [entry.text for entry in table.rows[0][:4]] == ["scratch", "4.00 ± 0.00 (n=3)", "1.50", "4.00"]
    assert [entry.text for entry in table.rows[1][1:]] == ["–"] * 7
    assert any("up to 3 runs trained side by side" in note for note in table.notes)
