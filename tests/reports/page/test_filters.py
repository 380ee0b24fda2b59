"""Filters of the page, which its address keeps; and a second report beside it."""

from __future__ import annotations

import pytest

pytest.importorskip("selenium")

pytestmark = pytest.mark.browser
TWO = {
    "data": {name: {"source": "cifar10_subset", "per_class": 4} for name in ("near", "far")},
    "teachers": {name: {"model": "timm/test_resnet", "adapt": {"scratch": {}}} for name in ("big", "bigger")},
    "seeds": [0, 1],
}


@pytest.fixture
def two(make_lab):
    """Two data sets and two teachers."""
    lab = make_lab(**TWO)
    for stage in lab.plan.stages.values():
        if stage.kind == "teacher":
            lab.finish(stage.key, 0.9)
    for data, shift in (("near", 0.0), ("far", 0.2)):
        lab.finish_arm("scratch", [0.3 + shift, 0.4 + shift], data=data)
        lab.finish_arm("distil", [0.5 + shift] * 4, data=data)
    return lab


def choose(page, label: str, value: str) -> None:
    page.run(
        """const select = [...document.querySelectorAll('.filters label')].find(each => each.textContent.startsWith(
        arguments[0])).querySelector('select'); select.value = arguments[1];
        select.dispatchEvent(new Event('change'));""",
        label,
        value,
    )


def test_tables_charts_and_the_address_follow(two, page_of, open_page):
    file = page_of(two)
    page = open_page(file)
    assert [each.text.split("\n")[0] for each in page.all(".filters label") if each.is_displayed()] == [
        "data set",
        "teacher",
    ]
    assert len(page.column("Cells", "arm")) == 20
    choose(page, "data set", "far")
    choose(page, "teacher", "bigger")
    assert page.browser.current_url == f"{file.as_uri()}#?data=far&teacher=bigger"
    assert set(page.column("Cells", "data set")) == {"far"}
    assert set(page.column("Cells", "arm")) == {"scratch", "probe", "tune", "distil, bigger (scratch)"}
    assert page.one(".filters .count").text == "8 of 20 cells; arms without a teacher stay"
    assert page.column("Test accuracy", "arm") == ["scratch", "probe", "tune", "distil, bigger (scratch)"]
    heads = page.run("return [...arguments[0].tHead.rows[0].cells].map(each => each.innerText)", page.table("Test acc"))
    assert len(heads) == 2
    assert heads[1].startswith("far, small")
    assert [point.get_attribute("aria-label")[:16] for point in page.all(".point")] == [
        "scratch: 55.0 ± ",
        "distil, bigger (",
    ]


def test_an_address_opens_with_its_filters(two, page_of, open_page):
    page = open_page(page_of(two))
    page.run("location.hash = '#cells?data=near&student=small&teacher=nobody'")
    page.wait("document.querySelector('.filters .count').textContent")
    assert set(page.column("Cells", "data set")) == {"near"}  # what is no choice here is left aside
    assert len(page.column("Cells", "arm")) == 10
    links = page.run("return [...document.querySelectorAll('nav a')].map(each => each.getAttribute('href'))")
    assert links[:2] == ["#charts?data=near", "#summary?data=near"]
    page.browser.refresh()
    assert set(page.column("Cells", "data set")) == {"near"}
    assert page.run("return scrollY") > 300  # it shows the section that is named


def test_another_report_stands_beside_it(run_lab, two, page_of, open_page, tmp_path):
    file = page_of(two, "two")
    page = open_page(page_of(run_lab))
    chosen = page.one("#compare input[type=file]")
    chosen.send_keys(str(file))
    page.wait("document.querySelector('#compare tbody tr')")
    assert page.one("#compare .notes").text.startswith("report.html: tiny, suite key ")
    columns = ("arm", "data set", "here (%)", "there (%)", "there - here (points)")
    rows = set(zip(*(page.column("This report", column) for column in columns), strict=True))
    assert ("tune", "cifar", "80.0 ± 10.0 (n=3)", "–", "–") in rows
    assert ("scratch", "far", "–", "55.0 ± 7.1 (n=2)", "–") in rows
    (tmp_path / "none.html").write_text("<p>no report</p>")
    chosen.send_keys(str(tmp_path / "none.html"))
    page.wait("document.querySelector('#compare .notes').textContent.startsWith('none.html')")
    assert page.one("#compare .notes").text == "none.html is no report of BenchBench: choose a report.html."
    assert not page.one("#compare .table").is_displayed()


def test_differences_from_another_report(finished, page_of, open_page):
    file = page_of(finished, "before")
    finished.finish_arm("tune", [0.8, 0.9, 1.0], [2.0, 2.0, 2.0])
    page = open_page(page_of(finished))
    page.one("#compare input[type=file]").send_keys(str(file))
    page.wait("document.querySelector('#compare tbody tr')")
    places = [page.column("This report", "arm").index(arm) for arm in ("scratch", "tune")]
    assert [page.column("This report", "there - here (points)")[place] for place in places] == ["+0.0", "-10.0"]
    assert [page.column("This report", "GPU-hours, there")[place] for place in places] == ["2.00", "4.00"]
