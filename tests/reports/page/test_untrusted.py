"""Text from runs is shown as text, in a real browser, and the page's policy stops what is not its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchbench.errors import visible
from benchbench.reports.page.render import render

NASTY = "</script><img src=x onerror=acted=1><!--\u2028\"'&lt;"


@pytest.fixture
def nasty(run_lab, data_of, tmp_path) -> Path:
    """A page in which every text that comes from elsewhere tries to act."""
    (done, failed) = (run_lab.cells("scratch")[n].stage for n in (0, 1))
    run_lab.fail(failed, NASTY)
    run_lab.finish(done)
    run_lab.change(done, "environment", device=NASTY, versions={NASTY: NASTY})
    run_lab.change(done, "data", names=(NASTY,))
    for key in (done, failed):
        run_lab.folder(key).log.write_text(NASTY, encoding="utf-8")
        run_lab.folder(key).curve.write_text(json.dumps({"epoch": 1, NASTY: 1.0}), encoding="utf-8")
    data = data_of(run_lab)
    assert {visible(NASTY)} <= {data["devices"][0], data["stages"][done[:16]]["log"], data["cells"][1]["reason"]}
    # Suites cannot have such names, but the page need not trust that.
    data["devices"][0] = NASTY
    data |= {"suite": NASTY, "key": NASTY, "command": NASTY, "version": NASTY, "answer": NASTY, "left_out": [NASTY]}
    item = {"label": NASTY, "text": NASTY, "tone": NASTY, "detail": NASTY}
    data["summary"] = {"title": NASTY, "items": [item], "counts": {NASTY: 1}, "notes": [NASTY]}
    entry = {"text": NASTY, "bold": True}
    table = {"name": NASTY, "title": NASTY, "columns": [NASTY] * 2, "rows": [[entry] * 2], "notes": [NASTY]}
    data["tables"].append({**table, "labels": 1})
    for cell in data["cells"][:2]:
        cell |= {"row": NASTY, "data": NASTY, "student": NASTY, "unit": NASTY}
        stage, other = data["stages"][cell["stage"]], data["cells"][-1]["stage"]
        stage |= {"label": NASTY, "kind": NASTY, "needs": {NASTY: other}, "soft_needs": {NASTY: other}}
    path = tmp_path / "nasty.html"
    path.write_text(render(data), encoding="utf-8")
    return path


@pytest.mark.browser
def test_is_shown_as_text_wherever_it_comes_from(nasty, open_page):
    page = open_page(nasty)
    assert page.browser.title == f"{NASTY} – BenchBench"
    assert page.run("return document.querySelector('.top').textContent").count(NASTY) == 3
    assert page.run("return document.querySelector('main').textContent").count(NASTY) > 20
    for index in (0, 1):
        page.all("#cells tbody button")[index].click()
        page.run("document.querySelectorAll('dialog details').forEach(each => { each.open = true; })")
        page.wait("[...document.querySelectorAll('dialog details[open]')].every(each => each.childElementCount > 1)")
        texts = page.run("return document.querySelector('dialog').textContent")
        assert texts.count(NASTY) + texts.count(visible(NASTY)) >= 7
        page.one("dialog .close").click()
    page.one("#charts select option:last-child").click()
    assert page.run("return [window.acted, document.images.length, document.scripts.length]") == [None, 0, 2]


def test_cannot_end_the_data_it_stands_in(nasty):
    text = nasty.read_text(encoding="utf-8")
    assert text.isascii() or "\u2028" not in text
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(data)
    assert json.loads(data)["suite"] == NASTY


@pytest.mark.browser
def test_the_policy_stops_what_is_not_the_page_s_own(page):
    acts = {
        "a script": "s = document.createElement('script'); s.text = 'acted = 1'; document.body.append(s)",
        "markup": "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "code from text": "window.acted = eval('1')",
    }
    for what, act in acts.items():
        # By way of a timer, since the driver's own scripts may do what the page's may not.
        page.run(f"window.tried = 0; setTimeout(() => {{ try {{ {act} }} finally {{ window.tried = 1 }} }})")
        page.wait("window.tried")
        assert page.run("return window.acted") is None, what
        assert page.all("body > b") == [], what
    page.run("const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    page.wait("document.querySelector('img').complete")
    complaints = [entry["message"] for entry in page.browser.get_log("browser")]  # which the fixture would not want
    for expected in ("TrustedScript", "TrustedHTML", "unsafe-eval", "img-src"):
        assert any(expected in each for each in complaints), (expected, complaints)
    messages = [json.loads(each["message"])["message"] for each in page.browser.get_log("performance")]
    assert not any("127.0.0.1" in json.dumps(m) for m in messages if m["method"] == "Network.responseReceived")
