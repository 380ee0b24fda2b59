"""Losses ranked among those that share a teacher, its state and a student."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.losses import loss_text, losses
from tests.reports.table_texts import rows_of

ARMS = {
    "scratch": {"method": "scratch"},
    "KD": {"method": "distill", "loss": {"ce": 1, "kd": {"weight": 0.5, "temperature": 2}}},
    "DKD": {"method": "distill", "loss": {"ce": 1, "dkd": 1}},
    "DIST": {"method": "distill", "loss": {"ce": 1, "dist": 1}},
}


@pytest.fixture
def compared(make_lab):
    lab = make_lab(arms=ARMS)
    lab.finish(lab.teacher())
    return lab


def test_by_accuracy(compared):
    compared.finish_arm("scratch", [0.5, 0.5, 0.5])
    compared.finish_arm("KD", [0.60, 0.61, 0.62])
    compared.finish_arm("DKD", [0.7])
    table = losses(compared.frame(), compared.plan)
    assert table.columns == ["teacher", "arm", "loss", "rank", "test accuracy (%)", "over scratch"]
    assert [row[:5] for row in rows_of(table)] == [
        ["big (scratch)", "DKD", "ce + dkd", "1", "70.0 (n=1, 2 missing)"],
        ["big (scratch)", "KD", "ce + 0.5 kd (temperature 2)", "2", "61.0 ± 1.0 (n=3)"],
        ["big (scratch)", "DIST", "ce + dist", "–", "–"],
    ]
    gains = [row[5] for row in rows_of(table)]
    assert (gains[0], gains[2]) == ("+20.0", "–")  # one seed has no interval
    # Errors 1 / √3 and, of equal runs on 1,000 images, 0.1 / √12 / √3; t at 2.01 degrees of freedom is 4.29.
    assert gains[1] == "+11.0 [+8.5, +13.5]"


@pytest.mark.parametrize("equal", [(0.60001, 0.60002), (0.411, 0.4115)])  # the last two read 41.1
def test_means_that_are_equal_as_rounded_share_a_rank(compared, equal):
    for arm, accuracy in zip(("KD", "DKD", "DIST"), (*equal, 0.3), strict=True):
        compared.finish_arm(arm, [accuracy] * 3)
    table = losses(compared.frame(), compared.plan)
    assert sorted((row[1], row[3]) for row in rows_of(table)) == [("DIST", "3"), ("DKD", "1"), ("KD", "1")]


def test_each_pair_is_a_ranking_of_its_own(make_lab):
    students = {"a": {"model": "timm/test_efficientnet"}, "b": {"model": "timm/test_vit"}}
    lab = make_lab(arms={name: ARMS[name] for name in ("KD", "DKD")}, students=students)
    lab.finish(lab.teacher())
    for arm, student, accuracy in (("KD", "a", 0.6), ("DKD", "a", 0.5), ("KD", "b", 0.3), ("DKD", "b", 0.4)):
        lab.finish_arm(arm, [accuracy] * 3, student=student)
    table = losses(lab.frame(), lab.plan)
    assert (table.columns[:2], table.labels) == (["data", "student"], 5)
    ranked = [(row[1], row[3], row[5], row[7]) for row in rows_of(table)]
    assert ranked == [("a", "KD", "1", "–"), ("a", "DKD", "2", "–"), ("b", "DKD", "1", "–"), ("b", "KD", "2", "–")]
    assert any("no student is trained alone" in note for note in table.notes)


def test_one_loss_a_teacher_is_no_ranking(make_lab):
    teachers = {name: {"model": "timm/test_resnet", "adapt": ["scratch"], "seed": n} for n, name in enumerate("xy")}
    arms = {"KD": {**ARMS["KD"], "teachers": "x"}, "DKD": {**ARMS["DKD"], "teachers": "y"}}
    lab = make_lab(arms=arms, teachers=teachers)
    assert losses(lab.frame(), lab.plan) is None


def test_the_sum_in_words(compared):
    assert loss_text(compared.plan, "scratch") == "ce"


def test_lengths_are_ranked_apart_and_compared_with_the_student_alone_of_that_length(make_lab):
    long = {"recipe": {"epochs": [1, 10]}}
    lab = make_lab(arms={"scratch": ARMS["scratch"] | long, "KD": ARMS["KD"] | long, "DKD": ARMS["DKD"]})
    lab.finish(lab.teacher())
    accuracies = {"scratch (1 epoch)": 0.4, "scratch (10 epochs)": 0.55}
    accuracies |= {"KD, big (scratch) (1 epoch)": 0.5, "KD, big (scratch) (10 epochs)": 0.6, "DKD, big (scratch)": 0.45}
    assert {cell.row for cell in lab.plan.cells} == set(accuracies)
    for row, accuracy in accuracies.items():
        for cell in lab.plan.cells:
            if cell.row == row:
                lab.finish(cell.stage, accuracy)
    table = losses(lab.frame(), lab.plan)
    rows = [[row[1], row[3], row[5].split()[0]] for row in rows_of(table)]
    assert rows == [["KD, 10 epochs", "1", "+5.0"], ["KD, 1 epoch", "2", "+10.0"], ["DKD", "3", "+5.0"]]


def test_the_student_alone_sees_real_images(make_lab):
    """An arm that trains on generated ones too is no student alone, though it comes first."""
    arms = {"images": {"method": "scratch", "synthetic": "images"}, **ARMS}
    lab = make_lab(arms=arms, synthetic={"images": {"source": "same_class_mixup"}})
    lab.finish(lab.teacher())
    for arm, accuracy in (("images", 0.3), ("scratch", 0.5), ("KD", 0.6)):
        lab.finish_arm(arm, [accuracy] * 3)
    assert next(row[5] for row in rows_of(losses(lab.frame(), lab.plan)) if row[1] == "KD").startswith("+10.0")
