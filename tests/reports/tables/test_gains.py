"""The matrix of teachers and students."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.gains import gains
from tests.reports.table_texts import rows_of

STUDENTS = {"a": {"model": "timm/test_efficientnet"}, "b": {"model": "timm/test_vit"}}
ARMS = {"scratch": {"method": "scratch"}, "KD": {"method": "distill", "loss": {"ce": 1, "kd": 1}}}
TEACHERS = {
    "big": {"model": "timm/test_resnet", "adapt": ["scratch"]},
    "vit": {"model": "timm/test_vit", "adapt": ["scratch"]},
}


@pytest.fixture
def matrix(make_lab):
    lab = make_lab(students=STUDENTS, arms=ARMS, teachers=TEACHERS)
    for key, stage in lab.plan.stages.items():
        if stage.kind == "teacher":
            lab.finish(key)
    return lab


def test_gains_over_the_student_alone(matrix):
    matrix.finish_arm("scratch", [0.49, 0.50, 0.51], student="a")
    matrix.finish_arm("scratch", [0.4], student="b")
    matrix.finish_arm("KD", [0.59, 0.60, 0.61], student="a", teachers=("big",))
    matrix.finish_arm("KD", [0.3], student="b", teachers=("vit",))
    matrix.fail(matrix.cells("KD", student="a", teachers=("vit",))[0].stage, "no memory")
    table = gains(matrix.frame(), matrix.plan)
    assert table.columns == ["teacher", "arm", "a", "b"]
    # Both errors are 1 / √3 points, so that t at 4 degrees of freedom (2.776) times √(2 / 3) is 2.27.
    assert rows_of(table) == [
        ["big (scratch)", "KD", "+10.0 [+7.7, +12.3] (n=3/3)", "–"],
        ["vit (scratch)", "KD", "failed", "-10.0 (n=1/1)"],
    ]


def test_a_column_for_each_data_set_where_there_are_several(make_lab):
    data = {"one": {"source": "cifar10_subset"}, "two": {"source": "cifar10_subset", "per_class": 4}}
    lab = make_lab(students=STUDENTS, arms=ARMS, data=data)
    assert gains(lab.frame(), lab.plan).columns == ["teacher", "arm", "one, a", "one, b", "two, a", "two, b"]


def test_students_with_a_teacher_each(make_lab):
    """Such an arm is one row of the other tables."""
    teachers = {name: {**TEACHERS[name], "students": student} for name, student in (("big", "a"), ("vit", "b"))}
    lab = make_lab(students=STUDENTS, arms=ARMS, teachers=teachers)
    for key, stage in lab.plan.stages.items():
        if stage.kind == "teacher":
            lab.finish(key)
    for student in "ab":
        lab.finish_arm("scratch", [0.5], student=student)
        lab.finish_arm("KD", [0.6], student=student)
    assert rows_of(gains(lab.frame(), lab.plan)) == [
        ["big (scratch)", "KD", "+10.0 (n=1/1)", "–"],
        ["vit (scratch)", "KD", "–", "+10.0 (n=1/1)"],
    ]


@pytest.mark.parametrize("arms", [{"KD": ARMS["KD"]}, {"scratch": ARMS["scratch"]}])
def test_without_a_pair_or_a_student_alone(make_lab, arms):
    lab = make_lab(students=STUDENTS, arms=arms, teachers=TEACHERS)
    assert gains(lab.frame(), lab.plan) is None


def test_one_pair_is_no_matrix(lab):
    assert gains(lab.frame(), lab.plan) is None


def test_the_student_alone_learns_from_labels_alone(make_lab):
    smooth = {"method": "scratch", "loss": {"ce": {"label_smoothing": 0.1}}}
    lab = make_lab(students=STUDENTS, arms={"smooth": smooth, **ARMS})
    assert "to 'scratch'" in gains(lab.frame(), lab.plan).notes[0]


def test_lengths_have_rows_of_their_own(make_lab):
    arms = {name: arm | {"recipe": {"epochs": [1, 10]}} for name, arm in ARMS.items()}
    lab = make_lab(students=STUDENTS, arms=arms)
    for key, stage in lab.plan.stages.items():
        if stage.kind == "teacher":
            lab.finish(key)
    for cell in lab.plan.cells:
        epochs = lab.plan.stages[cell.stage].spec.recipe.epochs
        lab.finish(cell.stage, 0.3 + 0.01 * epochs + (0.05 * epochs if cell.arm == "KD" else 0))
    rows = [[text.split()[0] for text in row[2:]] for row in rows_of(gains(lab.frame(), lab.plan))]
    assert [row[1] for row in rows_of(gains(lab.frame(), lab.plan))] == ["KD, 1 epoch", "KD, 10 epochs"]
    assert rows == [["+5.0", "+5.0"], ["+50.0", "+50.0"]]


def test_an_unfinished_reference_is_no_failure_of_the_pair(matrix):
    matrix.finish_arm("KD", [0.6, 0.6], student="a", teachers=("big",))
    matrix.fail(matrix.cells("KD", student="a", teachers=("big",))[2].stage, "no memory")
    assert rows_of(gains(matrix.frame(), matrix.plan))[0][2] == "–"
