"""The accuracy table: means, spreads, n, and nothing hidden."""

from __future__ import annotations

import statistics

from benchbench.reports.accuracy import accuracy


def texts(table) -> dict[str, list[str]]:
    return {entries[0].text: [entry.text for entry in entries[1:]] for entries in table.rows}


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
    assert bold(table) == {"tune"}


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


def test_notes_say_how_to_read_it(finished, make_lab):
    notes = "\n".join(accuracy(finished.frame(), finished.plan).notes)
    assert "standard deviation over n seeds" in notes
    assert "the last epoch" in notes
    assert "cifar: 40 training, 1000 test images" in notes
    assert "teachers: big (scratch) on cifar 90.0" in notes
    chosen = make_lab("selection={rule: best, validation: 0.25}")
    assert "best epoch on a validation split of 25%" in accuracy(chosen.frame(), chosen.plan).notes[0]


def test_the_best_is_bold_however_the_means_were_summed(lab):
    lab.finish_arm("scratch", [0.407, 0.348, 0.549])
    lab.finish_arm("probe", [0.3, 0.3, 0.3])
    (scratch,) = (row for row in accuracy(lab.frame(), lab.plan).rows if row[0].text == "scratch")
    assert scratch[1].bold


def test_what_reads_the_same_is_bold_together(lab):
    lab.finish_arm("scratch", [0.5001, 0.5001, 0.5001])
    lab.finish_arm("probe", [0.5002, 0.5002, 0.5002])
    bold = {row[0].text for row in accuracy(lab.frame(), lab.plan).rows if row[1].bold}
    assert bold == {"scratch", "probe"}
