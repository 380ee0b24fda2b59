"""The accuracy table: means, spreads, n, and nothing hidden."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from benchbench.reports.tables.accuracy import accuracy
from tests.reports.table_texts import texts


def bold(table) -> set[str]:
    return {entries[0].text for entries in table.rows for entry in entries[1:] if entry.bold}


def test_mean_spread_and_n(finished):
    table = accuracy(finished.frame(), finished.plan)
    # 0.5, 0.6 and 0.9: squares of deviations sum to 0.08667, over n - 1 = 2 that is 0.0433, of root 0.208.
    assert texts(table) == {
        "scratch": ["66.7 ± 20.8 (n=3)"],
        "probe": ["40.0 ± 0.0 (n=3)"],
        "tune": ["80.0 ± 10.0 (n=3)"],
        "distil, big (scratch)": ["70.0 ± 10.0 (n=3)"],
    }
    assert f"{100 * statistics.stdev([0.5, 0.6, 0.9]):.1f}" == "20.8"
    assert table.columns == ["arm", "cifar, small"]
    # The interval of 80 ± 10 from three runs is ± 4.303 x 10 / sqrt(3) = 24.8 wide, and so ends at 55.2.
    assert bold(table) == {"tune", "distil, big (scratch)", "scratch"}


def test_what_the_interval_of_the_best_holds_is_bold_with_it(lab, make_lab):
    lab.finish_arm("tune", [0.798, 0.800, 0.802])  # 80 ± 0.497
    lab.finish_arm("scratch", [0.7955, 0.7956, 0.7957])  # shown as 79.6, the least that the interval holds
    lab.finish_arm("probe", [0.7949, 0.7949, 0.7949])
    assert bold(accuracy(lab.frame(), lab.plan)) == {"tune", "scratch"}
    # At the level of 99.9 % the interval is 31.6 / 4.3 times as wide.
    wider = make_lab("statistics={alpha: 0.001}")
    assert bold(accuracy(lab.frame(), wider.plan)) == {"tune", "scratch", "probe"}
    # One run has no interval.
    lab.finish(lab.teacher())
    lab.finish_arm("distil", [0.801])
    assert bold(accuracy(lab.frame(), lab.plan)) == {"distil, big (scratch)"}


def test_two_runs_have_no_ties_but_equal_ones(lab):
    lab.finish_arm("tune", [0.70, 0.90])
    lab.finish_arm("scratch", [0.79, 0.79])
    assert bold(accuracy(lab.frame(), lab.plan)) == {"tune"}


def test_equal_bests_are_all_bold(lab):
    for arm, values in (("scratch", [0.5]), ("tune", [0.5]), ("probe", [0.4])):
        lab.finish_arm(arm, values)
    assert bold(accuracy(lab.frame(), lab.plan)) == {"scratch", "tune"}


def test_lost_cells_are_counted_and_never_averaged_in(lab):
    lab.finish_arm("scratch", [0.5, 0.7])
    lab.finish_arm("tune", [0.6])
    lab.fail(lab.cells("probe")[0].stage, "out of memory")
    lab.fail(lab.teacher(), "no weights")
    table = accuracy(lab.frame(), lab.plan)
    assert texts(table) == {
        "scratch": ["60.0 ± 14.1 (n=2, 1 missing)"],
        "tune": ["60.0 (n=1, 2 missing)"],  # one run has no spread
        "probe": ["failed"],
        "distil, big (scratch)": ["failed"],
    }


def test_nothing_has_run(lab):
    table = accuracy(lab.frame(), lab.plan)
    assert texts(table) == {row: ["–"] for row in ("scratch", "probe", "tune", "distil, big (scratch)")}
    assert bold(table) == set()


def test_a_column_for_every_data_set_and_student_with_its_own_best(make_lab):
    students = {"a": {"model": "timm/test_efficientnet"}, "b": {"model": "timm/test_vit"}}
    arms = {"scratch": {"method": "scratch"}, "longer": {"method": "scratch", "recipe": {"epochs": 2}}}
    data = {"one": {"source": "cifar10_subset"}, "two": {"source": "cifar10_subset", "per_class": 4}}
    lab = make_lab(students=students, arms=arms, data=data)
    lab.finish_arm("scratch", [0.1, 0.1, 0.1], data="one", student="b")
    lab.finish_arm("longer", [0.2, 0.2, 0.2], data="one", student="b")
    lab.finish_arm("scratch", [0.9, 0.9, 0.9], data="two", student="a")
    table = accuracy(lab.frame(), lab.plan)
    assert table.columns == ["arm", "one, a", "one, b", "two, a", "two, b"]
    assert texts(table) == {
        "scratch": ["–", "10.0 ± 0.0 (n=3)", "90.0 ± 0.0 (n=3)", "–"],
        "longer": ["–", "20.0 ± 0.0 (n=3)", "–", "–"],
    }
    assert [[entry.bold for entry in entries[1:]] for entries in table.rows] == [
        [False, False, True, False],
        [False, True, False, False],
    ]


def test_notes_say_how_to_read_it(finished):
    notes = "\n".join(accuracy(finished.frame(), finished.plan).notes)
    assert "mean ± standard deviation over n seeds (ddof = 1)" in notes
    assert "bold: the best mean of a column and all means within its 95 % t-interval, from n = 3 on" in notes
    assert "cifar: 40 training, 1000 test images" in notes
    assert "teachers' accuracy: big (scratch) on cifar 90.0" in notes


@pytest.mark.parametrize(
    ("task", "measure"), [("classification", "accuracy"), ("segmentation", "mIoU"), ("detection", "mAP")]
)
def test_teachers_have_the_measure_of_the_task(finished, task, measure):
    info = {label: replace(each, task=task) for label, each in finished.plan.info.items()}
    notes = accuracy(finished.frame(), replace(finished.plan, info=info)).notes
    assert f"teachers' {measure}: big (scratch) on cifar 90.0" in notes


def test_the_best_is_bold_however_the_means_were_summed(lab):
    lab.finish_arm("scratch", [0.407, 0.348, 0.549])
    lab.finish_arm("probe", [0.1, 0.1, 0.1])
    assert bold(accuracy(lab.frame(), lab.plan)) == {"scratch"}


def test_what_reads_the_same_is_bold_together(lab):
    lab.finish_arm("scratch", [0.5001, 0.5001, 0.5001])
    lab.finish_arm("probe", [0.5002, 0.5002, 0.5002])
    bold = {row[0].text for row in accuracy(lab.frame(), lab.plan).rows if row[1].bold}
    assert bold == {"scratch", "probe"}
