"""The checks of reports tell a broken one what to change."""

from __future__ import annotations

import itertools

import pytest

from benchbench.reports.columns import COLUMNS
from benchbench.reports.table import Entry, Table
from benchbench.testing import check_component
from benchbench.testing.reports import CHECKS, ReportCase
from benchbench.testing.sample import sample_plan, sample_results

COUNT = itertools.count()


def table(**changes):
    good = {"name": "mine", "title": "A table", "columns": ["arm"], "rows": [[Entry("scratch")]]}
    return lambda results, plan: Table(**good | changes)


def writes_into_it(results, plan):
    results.loc[0, "status"] = "lost"
    return table()(results, plan)


def needs_a_number(results, plan):
    best = results[results.status == "done"].accuracy.tolist()[0]
    return table(rows=[[Entry(f"{best}")]])(results, plan)


BROKEN = [
    ("table", lambda results, plan: results, "it gives a DataFrame: give a benchbench.reports.table.Table"),
    ("table", table(name="my table"), "which becomes a file's name"),
    ("table", table(title=""), "its table has no title"),
    ("table", table(columns=["arm", "best"]), "row 0 has 1 entries, the header 2: give one a column"),
    ("table", table(rows=[["scratch"]]), r"row 0 holds \['scratch'\]: wrap every text in Entry"),
    ("table", table(rows=[[Entry(0.5)]]), r"row 0 holds Entry\(\[0.5\]\): format numbers into text"),
    ("table", table(notes=[1]), "a note is no text"),
    ("renders", table(rows=[[Entry(0.5)]]), "it cannot be drawn as md .*: give texts as str"),
    ("nothing done", needs_a_number, "raises IndexError: .* where no cell is done: give a table without numbers"),
    ("input", writes_into_it, r"changes the results that it is given: work on results\.copy"),
    (
        "determinism",
        lambda results, plan: table(title=f"{next(COUNT)}")(results, plan),
        "the same results give another",
    ),
]


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_report_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](ReportCase(component(target)))


def test_every_check_has_a_report_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_nothing_to_say_is_remarked_on(component):
    case = ReportCase(component(lambda results, plan: None))
    remarks = [check(case) for check in CHECKS.values()]
    assert remarks[0].startswith("it has nothing to say of the sample suite")
    assert not any(remarks[1:])


@pytest.mark.whole_run
def test_those_that_come_with_benchbench_break_none():
    from benchbench.reports import benchbench_reports

    for report in benchbench_reports():
        assert [str(finding) for finding in check_component("report", report) if finding.status != "ok"] == []


def test_the_sample_is_like_a_run_s_results():
    plan = sample_plan()
    results = sample_results(plan)
    assert list(results.columns) == list(COLUMNS)
    assert len(results) == len(plan.cells)
    assert set(results.status) == {"done", "failed", "missing"}
    done = results[results.status == "done"]
    optional = {"teacher", "adapt", "teacher_accuracy", "reason", "teacher_parameters", "family", "teacher_family"}
    optional |= {"similarity_start", "similarity_end", "ladder", "trials", "pretraining_basis", "pretraining_joules"}
    optional |= {
        "earlier_methods",
        "teacher_pretraining_basis",
        "balanced_accuracy",
        "top5_accuracy",
        "calibration_error",
        "miou",
        "pixel_accuracy",
        "map",
        "ap50",
    }
    assert done.accuracy.between(0, 1).all()
    assert {name for name in COLUMNS if done[name].isna().any()} <= optional
