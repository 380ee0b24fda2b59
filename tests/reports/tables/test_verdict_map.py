"""Verdicts at equal compute, over data sets, students and teachers."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.verdict_map import ANY, verdict_map_table, verdict_maps
from benchbench.reports.tables.verdicts import compare
from tests.reports.conftest import STUDENT
from tests.reports.ladders import ARMS, KD, finish

OTHER = STUDENT | {"recipe": {"lr": 0.05}}
DATA = {
    "few": {"source": "cifar10_subset", "per_class": 4},
    "whole": {"source": "cifar10_subset"},
    "half": {"source": "cifar10_subset", "fraction": 0.5},
}
TEACHERS = {
    "big": {"model": "timm/test_resnet", "adapt": ["scratch"]},
    "vit": {"model": "timm/test_vit", "adapt": ["scratch"]},
}
PAIR = {"tune": {"method": "finetune"}, "distil": KD}


@pytest.fixture
def sizes(make_lab):
    """Two students, three sizes of the data; nothing is finished but the teachers and the calibration."""
    lab = make_lab(students={"a": STUDENT, "b": OTHER}, data=DATA, arms=PAIR)
    lab.teach()
    lab.calibrate(images_per_second=50)
    return lab


def test_sizes_of_the_data_by_student(sizes):
    sizes.finish_arm("tune", [0.60, 0.61, 0.62], data="whole", student="a")
    sizes.finish_arm("distil", [0.70, 0.71, 0.72], data="whole", student="a")
    sizes.finish_arm("tune", [0.60, 0.61, 0.62], data="half", student="b")
    sizes.finish_arm("distil", [0.50, 0.51, 0.52], data="half", student="b")
    given, paid = verdict_maps(sizes.frame(), sizes.plan)
    assert (given.title, paid.title) == ("data × student, as given", "data × student, all paid")
    assert given.lines == ["few (40 images)", "half (500 images)", "whole (1,000 images)"]
    assert given.columns == ["a", "b"]
    by_student = {(line, student): cell.verdict for (line, student), cell in given.cells.items()}
    assert by_student == {
        ("few (40 images)", "a"): "not finished",
        ("few (40 images)", "b"): "not finished",
        ("half (500 images)", "a"): "not finished",
        ("half (500 images)", "b"): "falls short",
        ("whole (1,000 images)", "a"): "surpasses",
        ("whole (1,000 images)", "b"): "not finished",
    }
    assert given.cells["whole (1,000 images)", "a"].arm.difference == pytest.approx(10)
    # The same comparison as in the table of verdicts, where each side has one arm.
    (same,) = [arm for arm in compare(sizes.frame(), 0.5, 0.05) if (arm.data, arm.student) == ("whole", "a")]
    assert given.cells["whole (1,000 images)", "a"].arm == same


def test_the_fine_tuned_arm_of_equal_compute(make_lab):
    """Rungs of 1, 10 and 100 hours against distilled ones of as many: the largest that is not 10 % dearer."""
    lab = make_lab(students={"a": STUDENT, "b": OTHER}, arms={"tune": ARMS["tune"], "distil": KD})
    lab.teach()
    for student, hours in (("a", 91.0), ("b", 90.9)):
        finish(lab, {"tune": (56, 60, 64)}, student=student)
        lab.finish_arm("distil", [0.61, 0.611, 0.612], [hours] * 3, student=student)
    given = verdict_maps(lab.frame(), lab.plan)[0]
    assert {student: cell.arm.reference for (_, student), cell in given.cells.items()} == {
        "a": "tune (100 epochs)",  # 91 hours and a tenth are 100.1
        "b": "tune (10 epochs)",
    }
    assert [cell.verdict for cell in given.cells.values()] == ["falls short", "surpasses"]
    assert [cell.reference_hours for cell in given.cells.values()] == [100, 10]


def test_no_fine_tune_that_cheap(sizes):
    """As given, distillation costs 0.5 hours; with its teacher, of 1 hour, more than fine-tuning."""
    for student, hours in (("a", 0.5), ("b", 0.95)):
        sizes.finish_arm("tune", [0.6, 0.6, 0.6], [1.0] * 3, data="whole", student=student)
        sizes.finish_arm("distil", [0.7, 0.7, 0.7], [hours] * 3, data="whole", student=student)
    given, paid = verdict_maps(sizes.frame(), sizes.plan)
    verdicts = {student: given.cells["whole (1,000 images)", student].verdict for student in "ab"}
    assert verdicts == {"a": "no fine-tune that cheap", "b": "surpasses"}
    # The pre-training of 2 hours is paid by fine-tuning alone: 3 hours against 1.5 and 1.95.
    assert {paid.cells["whole (1,000 images)", student].verdict for student in "ab"} == {"no fine-tune that cheap"}
    assert paid.cells["whole (1,000 images)", "a"].hours == 1.5


def test_the_best_arm_shows_a_spread_and_is_corrected_for_the_choice(make_lab):
    arms = PAIR | {"lucky": {"method": "distill", "loss": {"ce": 1, "dkd": 1}}, "third": KD | {"recipe": {"lr": 0.1}}}
    lab = make_lab(students={"a": STUDENT, "b": OTHER}, arms=arms)
    lab.teach()
    lab.finish_arm("tune", [0.60, 0.61, 0.62], student="a")
    lab.finish_arm("distil", [0.62, 0.63, 0.64], student="a")
    lab.finish_arm("third", [0.59, 0.60, 0.61], student="a")
    lab.finish_arm("lucky", [0.9], student="a")
    (best,) = (
        cell.arm for (_, student), cell in verdict_maps(lab.frame(), lab.plan)[0].cells.items() if student == "a"
    )
    assert best.row == "distil, big (scratch)"
    alone = compare(lab.frame()[lambda frame: frame.arm.isin(["tune", "distil"])], 0.5, 0.05)[0]
    assert best.interval == alone.interval
    assert best.p == pytest.approx(2 * alone.p)  # Holm, of two that were tested


def test_one_seed_is_not_tested(sizes):
    sizes.finish_arm("tune", [0.6], data="whole", student="a")
    sizes.finish_arm("distil", [0.7], data="whole", student="a")
    cell = verdict_maps(sizes.frame(), sizes.plan)[0].cells["whole (1,000 images)", "a"]
    assert (cell.verdict, cell.arm.difference) == ("n too small to test", pytest.approx(10))


def test_teachers_by_student(make_lab):
    lab = make_lab(students={"a": STUDENT}, teachers=TEACHERS, arms=PAIR)
    lab.teach()
    lab.finish_arm("tune", [0.60, 0.61, 0.62])
    lab.finish_arm("distil", [0.70, 0.71, 0.72], teachers=("big",))
    lab.finish_arm("distil", [0.50, 0.51, 0.52], teachers=("vit",))
    given, _ = verdict_maps(lab.frame(), lab.plan)  # data x student has one cell
    assert given.title.startswith("teacher × student, as given")
    assert {line: cell.verdict for (line, _), cell in given.cells.items()} == {
        "big (scratch)": "surpasses",
        "vit (scratch)": "falls short",
    }


def test_teachers_of_the_largest_size_of_every_data_set(make_lab):
    lab = make_lab(students={"a": STUDENT}, teachers=TEACHERS, arms=PAIR, data=DATA)
    lab.teach()
    lab.finish_arm("distil", [0.7], teachers=("big",), data="few")
    of_data, _, of_teachers, _ = verdict_maps(lab.frame(), lab.plan)
    assert {cell.teacher for cell in of_data.cells.values()} == {ANY}
    assert of_teachers.lines == ["whole, big (scratch)", "whole, vit (scratch)"]


def test_a_teacher_for_each_student(make_lab):
    """Such an arm is one row of the other tables, and pairs that there are not have no cell."""
    teachers = {"big": TEACHERS["big"] | {"students": "a"}, "vit": TEACHERS["vit"] | {"students": "b"}}
    lab = make_lab(students={"a": STUDENT, "b": OTHER}, teachers=teachers, arms=PAIR)
    lab.teach()
    lab.finish_arm("distil", [0.7, 0.7, 0.7])
    places = [set(each.cells) for each in verdict_maps(lab.frame(), lab.plan)]
    assert places[2] == {("big (scratch)", "a"), ("vit (scratch)", "b")}


def test_the_table_has_both_sides(sizes):
    sizes.finish_arm("tune", [0.60, 0.61, 0.62], data="whole", student="a")
    sizes.finish_arm("distil", [0.70, 0.71, 0.72], data="whole", student="a")
    table = verdict_map_table(sizes.frame(), sizes.plan)
    rows = [[entry.text for entry in row] for row in table.rows]
    # Both standard errors are 1 / √3 points, so that t at 4 degrees of freedom (2.776) times √(2 / 3) is 2.27.
    assert ["whole", "a", "as given", "distil, big (scratch)", "1.00", "tune", "1.00", "+10.00 [+7.73, +12.27]"] in [
        row[:8] for row in rows
    ]
    assert ["few", "a", "as given", "–", "–", "–", "–", "–", "not finished", "–", "–"] in rows
    assert len(rows) == 12
    assert table.columns[:3] == ["data", "student", "hours counted"]


@pytest.mark.parametrize("arms", [PAIR, {"tune": PAIR["tune"]}, {"distil": KD}])
def test_none_for_one_cell_or_one_side(make_lab, arms):
    lab = make_lab(arms=arms)
    lab.teach()
    for arm in arms:
        lab.finish_arm(arm, [0.5, 0.6, 0.7])
    assert verdict_map_table(lab.frame(), lab.plan) is None


def test_none_before_a_distilled_arm_is_finished(sizes):
    sizes.finish_arm("tune", [0.5], data="whole")
    assert verdict_map_table(sizes.frame(), sizes.plan) is None


@pytest.mark.parametrize(("hours", "verdict"), [(4.0, "surpasses"), (5.0, "no fine-tune that cheap")])
def test_a_distilled_student_that_is_fine_tuned_is_no_reference(make_lab, hours, verdict):
    """It costs little more than the distilled arm, and more than the other that fine-tunes where that is cheap."""
    lab = make_lab(students={"a": STUDENT, "b": OTHER}, arms=PAIR | {"on": {"method": "finetune", "start": "distil"}})
    lab.teach()
    for student in "ab":
        lab.finish_arm("distil", [0.70, 0.71, 0.72], [4.0] * 3, student=student)
        lab.finish_arm("on", [0.90, 0.91, 0.92], [4.2] * 3, student=student)
        lab.finish_arm("tune", [0.60, 0.61, 0.62], [hours] * 3, student=student)
    given = verdict_maps(lab.frame(), lab.plan)[0]
    assert {cell.verdict for cell in given.cells.values()} == {verdict}
