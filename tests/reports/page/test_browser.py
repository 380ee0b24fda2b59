"""The page in a real browser: what a reader sees, clicks, types and prints, and that nothing in a run can act in it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from benchbench.reports.page.render import render
from benchbench.reports.page.server import PageServer, Watched
from benchbench.store import read_json, write_json

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

NASTY = "</script><img src=x onerror=acted=1><!--\u2028\"'&lt;"


class Page:
    """A page that is open in the browser."""

    def __init__(self, browser):
        self.browser = browser

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def column(self, table: int, number: int) -> list[str]:
        """The texts of a column of the table-th table, from top to bottom."""
        rows = "[...document.querySelectorAll('table')[arguments[0]].tBodies[0].rows]"
        return self.run(f"return {rows}.map(row => row.cells[arguments[1]].innerText)", table, number)

    def sort(self, table: int, number: int) -> str:
        """Presses Enter on the head of a column; gives the order that is then announced."""
        head = "document.querySelectorAll('table')[arguments[0]].tHead.rows[0].cells[arguments[1]]"
        self.run(f"{head}.firstChild.focus()", table, number)
        self.browser.switch_to.active_element.send_keys(Keys.ENTER)
        return self.run(f"return {head}.ariaSort", table, number)

    def wait(self, condition: str) -> Any:
        """The value of a JavaScript expression as soon as it is true."""
        script = """
            const done = arguments[0], until = Date.now() + 15000;
            (function look() {
                const value = (%s);
                if (value || Date.now() > until) done(value);
                else setTimeout(look, 20);
            })();"""
        value = self.browser.execute_async_script(script % condition)
        assert value, condition
        return value


@pytest.fixture
def screen(chromium) -> Iterator[Callable[..., None]]:
    """Sets the window's size and what the reader prefers; back to a desk in daylight afterwards."""

    def become(width: int = 1280, height: int = 900, scheme: str = "light", media: str = "") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    become()
    yield become
    become()


@pytest.fixture
def open_page(chromium, screen) -> Iterator[Callable[..., Page]]:
    """Opens a file or an address. At the end: nothing was said on the console, and nothing else was asked for."""
    opened: list[str] = []

    def open_(where: Path | str) -> Page:
        chromium.get("about:blank")
        for kind in ("browser", "performance"):
            chromium.get_log(kind)  # of the test before
        opened.append(where.as_uri() if isinstance(where, Path) else where)
        chromium.get(opened[-1])
        return Page(chromium)

    yield open_
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = {each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} <= {*opened, *(f"{url}data.json" for url in opened)}


@pytest.fixture
def page(told, page_of, open_page) -> Page:
    return open_page(page_of(told))


class TestFirstSight:
    def test_what_came_out_comes_first(self, page):
        assert page.browser.title == "tiny – BenchBench"
        assert page.one("h1").text == "tiny"
        assert page.one(".counts").text == "12 cells: 10 done, 1 failed, 1 not run yet"
        assert [heading.text for heading in page.all("main h2") if heading.is_displayed()] == [
            "Accuracy in short",
            "1 cell failed",
            "Tables",
            "Accuracy, cost and learning",
            "Cells",
            "About this page",
        ]
        assert "best: tune, 80.0 % (n=3); best distilled: distil, big (scratch), 70.0 % (n=3), -10.0 points" in (
            page.one("#summary").text
        )

    def test_every_table_with_its_notes(self, page):
        assert [title.text for title in page.all("#tables h3")] == [
            "Test accuracy (%) of tiny",
            "GPU-hours of one run of tiny",
        ]
        assert page.column(0, 0) == ["scratch", "probe", "tune", "distil, big (scratch)"]
        assert page.column(0, 1)[2] == "80.0 ± 10.0 (n=3)"
        assert page.one("#tables tbody strong").text == "80.0 ± 10.0 (n=3)"
        assert "made by: benchbench report suite.yaml" in page.one("#tables .notes").text

    def test_nothing_moves_once_it_is_there(self, page):
        script = """
            const done = arguments[0];
            new PerformanceObserver(list => done(list.getEntries().reduce((sum, e) => sum + e.value, 0)))
                .observe({type: 'layout-shift', buffered: true});
            setTimeout(() => done(0), 300);"""
        assert page.browser.execute_async_script(script) == 0

    def test_everything_that_can_be_used_has_a_name(self, page):
        controls = [each for each in page.all("button, input, select, [role=region], svg[role]") if each.is_displayed()]
        assert len(controls) > 40
        assert [each.get_attribute("outerHTML") for each in controls if not each.accessible_name] == []


class TestTables:
    def test_numbers_are_sorted_as_numbers_and_what_is_none_comes_last(self, page):
        before = page.column(2, 5)
        assert page.sort(2, 5) == "ascending"
        up = page.column(2, 5)
        assert up == ["40.0", "40.0", "40.0", "50.0", "60.0", "70.0", "70.0", "80.0", "80.0", "90.0", "–", "–"]
        assert page.sort(2, 5) == "descending"
        assert page.column(2, 5) == [*up[9::-1], "–", "–"]
        assert page.sort(2, 5) == "none"
        assert page.column(2, 5) == before

    def test_a_spread_does_not_hinder(self, page):
        page.sort(1, 1)
        assert [text.partition(" ")[0] for text in page.column(1, 1)] == ["0.500", "1.00", "3.00", "4.00"]

    def test_the_focus_stays_on_the_column(self, page):
        page.sort(0, 1)
        assert page.run("return document.activeElement.closest('th').innerText").startswith("cifar, small")

    def test_filter_by_words_in_any_order(self, page):
        field = page.one("#cells input")
        field.send_keys("DONE dist")
        assert page.column(2, 0) == ["distil, big (scratch)"] * 3
        assert page.one("#cells .count").text == "3 of 12 rows"
        field.send_keys(Keys.BACKSPACE * 9)
        assert len(page.column(2, 0)) == 12
        assert page.one("#cells .count").text == ""

    def test_long_tables_are_drawn_in_part_and_say_so(self, make_lab, page_of, open_page):
        lab = make_lab(seeds=list(range(60)))
        lab.finish_arm("scratch", [n / 100 for n in range(60)])
        page = open_page(page_of(lab))
        assert len(page.column(2, 0)) == 200
        assert page.one("#cells .count").text == "200 of 240 rows"
        page.sort(2, 5)
        page.sort(2, 5)
        assert page.column(2, 5)[:2] == ["59.0", "58.0"]
        page.one("#cells .more").click()
        assert len(page.column(2, 0)) == 240


class TestCharts:
    def points(self, page) -> list[str]:
        return [point.get_attribute("aria-label") for point in page.all(".point")]

    def test_a_point_an_arm_with_the_front(self, page):
        assert self.points(page) == [
            "scratch: 50.0 % (n=1) for 1.00 GPU-hours; on the Pareto front",
            "probe: 40.0 ± 0.0 % (n=3) for 0.500 GPU-hours; on the Pareto front",
            "tune: 80.0 ± 10.0 % (n=3) for 4.00 GPU-hours; on the Pareto front",
            "distil, big (scratch): 70.0 ± 10.0 % (n=3) for 3.00 GPU-hours; on the Pareto front",
        ]
        assert len(page.all(".run")) == 10

    def test_other_costs_give_another_front(self, page):
        # With the teacher's 6 hours over 3 cells distillation takes 5, and fine-tuning 2 hours more in pre-training.
        page.one("#charts select option[value=stages]").click()
        assert self.points(page)[3] == "distil, big (scratch): 70.0 ± 10.0 % (n=3) for 5.00 GPU-hours"
        page.one("#charts select option[value=total]").click()
        assert [text.partition(" for ")[2] for text in self.points(page)] == [
            "1.00 GPU-hours; on the Pareto front",
            "2.50 GPU-hours",
            "6.00 GPU-hours; on the Pareto front",
            "5.00 GPU-hours; on the Pareto front",
        ]

    def test_a_point_says_what_it_is_and_leads_to_its_runs(self, page):
        page.run("document.querySelectorAll('.point')[2].focus()")
        assert page.one(".told").text == self.points(page)[2]
        page.browser.switch_to.active_element.send_keys(Keys.ENTER)
        assert page.column(2, 0) == ["tune"] * 3
        assert page.one("#cells .count").text == "3 of 12 rows: tune, cifar, small"
        page.one("#cells .more").click()
        assert len(page.column(2, 0)) == 12

    def test_arms_are_switched_off_and_on(self, page):
        boxes = page.all(".legend input")
        boxes[0].send_keys(Keys.SPACE)
        assert [text.partition(":")[0] for text in self.points(page)] == ["probe", "tune", "distil, big (scratch)"]
        assert len(page.all("#charts .line")) == 3
        page.one(".legend .tools button:last-child").click()
        assert [empty.text for empty in page.all(".empty")] == ["No run to draw yet.", "No curve to draw yet."]
        page.one(".legend .tools button").click()
        assert len(self.points(page)) == len(page.all("#charts .line")) == 4

    def test_curves_tell_their_values_at_an_epoch(self, page):
        assert page.one(".values").text.splitlines()[:3] == ["Epoch 4", "scratch", "40.0"]
        page.one("#charts input[type=range]").send_keys(Keys.ARROW_LEFT)
        assert page.one(".values").text.splitlines()[:3] == ["Epoch 3", "scratch", "30.0"]
        page.one("#charts select option[value=loss]").click()
        assert page.one(".values").text.splitlines()[:3] == ["Epoch 3", "scratch", "1.50"]

    def test_arms_differ_in_more_than_colour(self, page):
        marks = [(m.get_attribute("d"), m.get_attribute("class")) for m in page.all(".legend .marker")]
        assert len({shape for shape, _ in marks}) == len({color for _, color in marks}) == 4


class TestCells:
    def open(self, page, text: str, number: int = 0):
        page.one("#cells input").send_keys(text)
        page.all("#cells tbody button")[number].send_keys(Keys.ENTER)
        return page.one("dialog[open]")

    def test_all_that_is_known_of_a_cell(self, page, told):
        dialog = self.open(page, "distil")
        cell = told.cells("distil")[0]
        text = dialog.text
        assert dialog.find_element(By.TAG_NAME, "h2").text == "distil, big (scratch) | cifar | small | seed 0"
        for expected in ("done\n", "test_accuracy\n0.6\n", "device_hours\n3\n", "ce\nweight\n1\nlabel_smoothing\n0\n"):
            assert expected in text
        assert f"stage cell/{cell.stage[:16]}" in text
        for title in ("Recipe", "Weights", "Environment", "End of the log", "teacher0: teacher big (scratch) | cifar"):
            dialog.find_element(By.XPATH, f".//summary[starts-with(., '{title}')]").click()
        page.wait("document.querySelectorAll('dialog pre').length === 1")
        text = dialog.text
        for expected in (
            "batch_size\n20\n",
            "ab" * 32,
            "Big GPU",
            f"{told.plan.stages[cell.stage].label} says <hello>",
        ):
            assert expected in text
        assert "device_hours\n6\n" in text  # the teacher's
        assert dialog.find_element(By.CSS_SELECTOR, "svg[role=img]").accessible_name.startswith(
            "train accuracy (%) by epoch: 1: 10.0, 2: 20.0"
        )

    def test_a_failure_has_its_reason_and_its_log(self, page):
        page.one(".failures button").click()
        text = page.one("dialog[open]").text
        assert "failed\nOutOfMemoryError: no room" in text
        assert "attempt 1 on cpu" in text
        page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert page.all("dialog[open]") == []

    def test_the_log_of_a_teacher_that_failed_is_at_hand(self, told, page_of, open_page):
        told.folder(told.teacher()).record.unlink()
        told.fail(told.teacher(), "no such weights")
        cell = told.cells("distil")[0].stage
        told.folder(cell).record.unlink()
        page = open_page(page_of(told))
        text = self.open(page, "distil", 0).text
        assert "not run yet" in text
        assert "no such weights" in text
        assert "teacher big (scratch) | cifar says <hello>" in text


class TestUntrustedText:
    @pytest.fixture
    def nasty(self, told, data_of, tmp_path) -> Path:
        """A page in which every text that comes from elsewhere tries to act."""
        (done, failed) = (told.cells("scratch")[n].stage for n in (0, 1))
        told.fail(failed, NASTY)
        told.finish(done, unit=NASTY)
        record = read_json(told.folder(done).record)
        record["environment"] = {NASTY: NASTY, "device": NASTY}
        record["data"]["names"] = [NASTY]
        write_json(told.folder(done).record, record)
        for key in (done, failed):
            told.folder(key).log.write_text(NASTY, encoding="utf-8")
            told.folder(key).curve.write_text(json.dumps({"epoch": 1, NASTY: 1.0}), encoding="utf-8")
        data = data_of(told)
        assert {NASTY} <= {data["devices"][0], data["stages"][done[:16]]["log"], data["cells"][1]["reason"]}
        # Suites cannot have such names, but the page need not trust that.
        data |= {"suite": NASTY, "key": NASTY, "command": NASTY, "version": NASTY, "left_out": [NASTY]}
        data["summary"] = {"title": NASTY, "items": [{"label": NASTY, "text": NASTY, "tone": ""}], "note": NASTY}
        entry = {"text": NASTY, "bold": True}
        table = {"name": NASTY, "title": NASTY, "columns": [NASTY] * 2, "rows": [[entry] * 2], "notes": [NASTY]}
        data["tables"].append({**table, "labels": 1})
        for cell in data["cells"][:2]:
            cell |= {"row": NASTY, "data": NASTY, "student": NASTY}
            stage = data["stages"][cell["stage"]]
            stage |= {"label": NASTY, "kind": NASTY, "needs": {NASTY: data["cells"][-1]["stage"]}}
        path = tmp_path / "nasty.html"
        path.write_text(render(data), encoding="utf-8")
        return path

    def test_is_shown_as_text_wherever_it_comes_from(self, nasty, open_page):
        page = open_page(nasty)
        assert page.browser.title == f"{NASTY} – BenchBench"
        assert page.run("return document.querySelector('.top').textContent").count(NASTY) == 3
        assert page.run("return document.querySelector('main').textContent").count(NASTY) > 20
        for number in (0, 1):
            page.all("#cells tbody button")[number].click()
            page.run("document.querySelectorAll('dialog details').forEach(each => { each.open = true; })")
            page.wait(
                "[...document.querySelectorAll('dialog details[open]')].every(each => each.childElementCount > 1)"
            )
            texts = page.run("return document.querySelector('dialog').textContent")
            assert texts.count(NASTY) >= 7
            page.one("dialog .close").click()
        page.one("#charts select option:last-child").click()
        assert page.run("return [window.acted, document.images.length, document.scripts.length]") == [None, 0, 2]

    def test_cannot_end_the_data_it_stands_in(self, nasty):
        text = nasty.read_text(encoding="utf-8")
        assert text.isascii() or "\u2028" not in text
        data = text.partition('id="data">')[2].partition("</script>")[0]
        assert not set("<>&\u2028\u2029") & set(data)
        assert json.loads(data)["suite"] == NASTY

    def test_the_policy_stops_what_is_not_the_page_s_own(self, page):
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


class TestEverywhere:
    def colours(self, page) -> tuple[int, int]:
        """Brightness of the ground and of the text, 0 to 255."""
        script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        return tuple(sum(map(int, each[4:-1].split(","))) // 3 for each in page.run(script))

    def test_dark_where_the_reader_wants_it(self, page, screen):
        ground, ink = self.colours(page)
        assert ground > 240 > 60 > ink
        screen(scheme="dark")
        ground, ink = self.colours(page)
        assert ground < 30 < 200 < ink

    @pytest.mark.parametrize("opened", [False, True])
    def test_fits_on_a_phone(self, page, screen, opened):
        if opened:
            page.all("#cells tbody button")[-1].click()
        screen(360, 740)
        page.wait("[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().right <= 360)")
        assert page.run("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
        assert page.run("return document.querySelector('.chart svg').clientWidth") > 280
        if opened:
            assert (
                page.run("const b = document.querySelector('dialog .body'); return b.scrollWidth - b.clientWidth") == 0
            )

    def test_prints_all_of_the_tables_in_black_on_white(self, page, screen):
        screen(scheme="dark", media="print")
        assert self.colours(page)[0] > 240
        assert page.run("return getComputedStyle(document.querySelector('.scroller')).overflow") == "visible"
        for control in ("nav", "#cells input", ".legend input", ".legend button"):
            assert page.run("return document.querySelector(arguments[0]).checkVisibility()", control) is False, control
        screen()
        printed = page.browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
        assert base64.b64decode(printed["data"]).startswith(b"%PDF")

    def test_prints_only_the_cell_that_is_open(self, page, screen):
        page.all("#cells tbody button")[0].click()
        screen(media="print")
        assert page.run("return document.querySelector('main').checkVisibility()") is False
        assert page.run("return document.querySelector('dialog').checkVisibility()") is True


class TestLive:
    @pytest.fixture
    def live(self, told, open_page) -> Iterator[Page]:
        with PageServer(Watched(told.plan, told.store, "benchbench report suite.yaml"), port=0) as server:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            yield open_page(server.url)
            server.shutdown()

    def test_what_happens_shows_and_what_the_reader_did_stays(self, live, told):
        live.wait("document.querySelector('.connection').textContent === 'Live: no run is using this store now.'")
        live.one("#cells input").send_keys("scratch")
        live.one("#cells tbody button").send_keys(Keys.ENTER)
        cells = [cell.stage for cell in told.cells("scratch")]
        with told.store.locked():
            told.folder(cells[2]).path.mkdir()
            write_json(told.folder(cells[2]).state, {"status": "running", "attempts": 2, "started": time.time() - 65})
            told.folder(cells[2]).log.write_text("attempt 2 on cpu\nstep 7\n")
            live.wait("document.querySelector('.counts').textContent.includes('1 running')")
            assert live.one(".connection").get_attribute("textContent") == "Live: a run is using this store."
            now = live.one(".running").get_attribute("textContent")
            assert re.fullmatch(r"Running nowscratch \| cifar \| small \| seed 2 0:01:\d\dstep 7", now)
        told.finish(cells[2], accuracy=0.25)
        live.wait("document.querySelector('.counts').textContent.includes('11 done, 1 failed')")
        assert live.column(2, 5) == ["50.0", "–", "25.0", "60.0", "70.0", "80.0"]  # distilled from a scratch teacher
        assert live.one("dialog[open] h2").text == "scratch | cifar | small | seed 0"

    def test_a_server_that_is_gone_is_said_to_be(self, told, chromium, open_page):
        with PageServer(Watched(told.plan, told.store, ""), port=0) as server:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            page = open_page(server.url)
            page.wait("document.querySelector('.connection').textContent.startsWith('Live')")
            server.shutdown()
        page.wait("document.querySelector('.connection').textContent.startsWith('benchbench watch has ended')")
        assert page.one("h1").text == "tiny"
        assert {entry["source"] for entry in chromium.get_log("browser")} == {"network"}  # the browser's own complaint


def test_nothing_done_yet(lab, page_of, open_page):
    page = open_page(page_of(lab))
    assert page.one(".counts").text == "12 cells: 12 not run yet"
    assert [empty.text for empty in page.all(".empty")] == ["No run to draw yet.", "No curve to draw yet."]
    assert page.column(0, 1) == ["–"] * 4
