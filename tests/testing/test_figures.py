"""The checks of figures and templates tell a broken one what to change."""

from __future__ import annotations

import itertools

import matplotlib.figure
import pytest

from benchbench.reports import benchbench_figures, benchbench_templates
from benchbench.reports.figure import Figure
from benchbench.store import Store
from benchbench.testing import check_component, sample
from benchbench.testing.figures import CHECKS, FigureCase, _sample, check_names
from benchbench.testing.sample import sample_plan, sample_results, sample_store

COUNT = itertools.count()


def figure_function(**changes):
    return lambda results, plan, store: Figure(
        **{"name": "mine", "title": "A figure", "figure": matplotlib.figure.Figure()} | changes
    )


def writes_into_it(results, plan, store):
    results.loc[0, "status"] = "lost"
    return figure_function()(results, plan, store)


def needs_a_number(results, plan, store):
    results[results.status == "done"].accuracy.tolist()[0]
    return figure_function()(results, plan, store)


def through_pyplot(results, plan, store):
    from matplotlib import pyplot

    return figure_function(figure=pyplot.figure())(results, plan, store)


def never_the_same(results, plan, store):
    figure = matplotlib.figure.Figure()
    figure.text(0, 0, str(next(COUNT)))
    return figure_function(figure=figure)(results, plan, store)


BROKEN = [
    ("figure", lambda results, plan, store: results, "it gives a DataFrame: give a benchbench.reports.figure"),
    ("figure", figure_function(name="my figure"), "which becomes a file's name"),
    ("figure", figure_function(title=""), "its figure has no title"),
    ("figure", figure_function(notes=[1]), "a note is no text"),
    (
        "figure",
        figure_function(figure=matplotlib.figure.Figure(figsize=(8, 2))),
        r"it is 8 inches wide, more than the 6\.75 of a page",
    ),
    ("saved", figure_function(figure="x"), "it cannot be saved as pdf"),
    ("saved", never_the_same, "the same results give another pdf"),
    ("nothing done", needs_a_number, "raises IndexError: .* where no cell is done: give None"),
    ("input", writes_into_it, r"changes the results that it is given: work on results\.copy"),
    ("pyplot", through_pyplot, "it draws through pyplot"),
]


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_figure_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](FigureCase(component(target)))


def test_every_check_has_a_figure_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_nothing_to_draw_is_remarked_on(component):
    case = FigureCase(component(lambda results, plan, store: None))
    remarks = [check(case) for check in CHECKS.values()]
    assert remarks[0].startswith("it has nothing to draw of the sample suite")
    assert not any(remarks[1:])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (lambda offered: "accuracy", "it gives 'accuracy': give a list of names"),
        (lambda offered: [1], r"it gives \[1\]: give a list of names"),
        (lambda offered: ["acuracy"], r"it names \['acuracy'\] where that is not offered"),
        (lambda offered: ["accuracy"], r"it names \['accuracy'\] where that is not offered"),  # in a suite without it
        (lambda offered: [*offered, *offered], "it gives a name twice"),
    ],
)
def test_a_broken_template_is_told_what_to_change(template, message):
    with pytest.raises(AssertionError, match=message):
        check_names(template)


@pytest.fixture(scope="module")
def two_panels():
    """The sample with one student in place of two: half as many panels to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sample.SUITE, "students", {"small": sample.SUITE["students"]["small"]})
        _sample.cache_clear()
        yield
    _sample.cache_clear()


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("kind", "component"),
    [("figure", each) for each in benchbench_figures()] + [("template", each) for each in benchbench_templates()],
    ids=lambda each: getattr(each, "name", each),
)
def test_those_that_come_with_benchbench_break_none(kind, component, two_panels, monkeypatch):
    monkeypatch.setattr("benchbench.testing.figures.FORMATS", ("png",))  # fonts of a PDF take as long as all else
    findings = check_component(kind, component)
    assert [str(finding) for finding in findings if finding.status != "ok"] == []
    drawn = not any("nothing to draw" in finding.message for finding in findings)
    # The sample suite generates no images and has no ladder; tests/reports/figures draw those.
    assert drawn == (component.name not in ("contact_sheet", "quality_and_gain", "iso_compute"))


def test_the_sample_s_store_has_what_its_results_say(tmp_path):
    plan = sample_plan()
    sample_store(plan, tmp_path)
    results = sample_results(plan)
    has = [Store(tmp_path).stage("cell", key).done() is not None for key in results.key]
    assert has == list(results.status == "done")
