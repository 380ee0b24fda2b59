"""Pairs of teacher and student with their gains, sizes, families and likeness."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.mismatch import mismatch
from benchbench.specs.records import FrozenModelRecord, SimilarityRecord
from tests.reports.table_texts import rows_of
from tests.reports.tables.test_gains import ARMS, STUDENTS, TEACHERS


@pytest.fixture
def pairs(make_lab):
    lab = make_lab(students=STUDENTS, arms=ARMS, teachers=TEACHERS)
    lab.teach()
    return lab


def measure(lab, arm, families, likeness, **where) -> None:
    """Adds a teacher of 246 parameters, twice the student's, and how alike both are, to finished cells."""
    for cell, (start, end) in zip(lab.cells(arm, **where), likeness, strict=False):
        record = lab.record(cell.stage)
        pair = SimilarityRecord(images=9, start=(start,), end=(end,), family=families[0], teacher_families=families[1:])
        teacher = FrozenModelRecord(parameters=246, dim=4, sha256="")
        metrics = record.metrics.model_copy(update={"similarity": pair})
        lab.write(cell.stage, record.model_copy(update={"metrics": metrics, "teachers": (teacher,)}))


def test_each_pair(pairs):
    pairs.finish_arm("scratch", [0.49, 0.50, 0.51], student="a")
    pairs.finish_arm("KD", [0.59, 0.60, 0.61], student="a", teachers=("big",))
    measure(pairs, "KD", ("vgg", "vgg"), [(0.1, 0.4), (0.2, 0.5), (0.3, 0.6)], student="a", teachers=("big",))
    pairs.finish_arm("scratch", [0.4], student="b")
    pairs.finish_arm("KD", [0.3], student="b", teachers=("vit",))
    measure(pairs, "KD", ("vgg", "resnet"), [(0.25, None)], student="b", teachers=("vit",))
    pairs.finish_arm("KD", [0.5], student="a", teachers=("vit",))
    table = mismatch(pairs.frame(), pairs.plan)
    assert table.columns[:5] == ["teacher", "student", "arm", "gain", "parameters"]
    assert rows_of(table) == [
        ["big (scratch)", "a", "KD", "+10.0 [+7.7, +12.3]", "2.0", "same", "0.20", "0.50", "3 / 3"],
        ["big (scratch)", "b", "KD", "–", "n/a", "n/a", "n/a", "n/a", "0"],
        ["vit (scratch)", "a", "KD", "+0.0", "n/a", "n/a", "n/a", "n/a", "1 / 3"],
        ["vit (scratch)", "b", "KD", "-10.0", "2.0", "other", "0.25", "n/a", "1 / 1"],
    ]
    assert table.notes[-1] == "mean gain within a family: +10.0 points (1 row); across families: -10.0 points (1 row)"


def test_data_sets_are_named_where_there_are_several(make_lab):
    data = {"one": {"source": "cifar10_subset"}, "two": {"source": "cifar10_subset", "per_class": 4}}
    lab = make_lab(students=STUDENTS, arms=ARMS, teachers=TEACHERS, data=data)
    table = mismatch(lab.frame(), lab.plan)
    assert table.columns[:4] == ["data", "teacher", "student", "arm"]
    assert len(table.rows) == 8
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_without_a_student_alone_there_is_no_gain(make_lab):
    lab = make_lab(students=STUDENTS, arms={"KD": ARMS["KD"]}, teachers=TEACHERS)
    lab.teach()
    lab.finish_arm("KD", [0.6], student="a", teachers=("big",))
    table = mismatch(lab.frame(), lab.plan)
    assert rows_of(table)[0][3:] == ["n/a", "n/a", "n/a", "n/a", "n/a", "1 / 0"]
    assert table.notes[0] == "no arm trains the student alone"


@pytest.mark.parametrize(
    "changes",
    [
        {"students": {"a": STUDENTS["a"]}},
        {"teachers": {"big": TEACHERS["big"]}},
        {"arms": {"scratch": ARMS["scratch"]}},
    ],
    ids=["one student", "one teacher", "nothing distilled"],
)
def test_no_pairs(make_lab, changes):
    lab = make_lab(**({"students": STUDENTS, "arms": ARMS, "teachers": TEACHERS} | changes))
    assert mismatch(lab.frame(), lab.plan) is None
