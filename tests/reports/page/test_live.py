"""The page that `benchbench watch` serves, in a real browser."""

from __future__ import annotations

import re
import time
from threading import Thread

import pytest

from benchbench.reports.page.server import LivePage, PageServer
from benchbench.store import StageState

pytest.importorskip("selenium")
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser


@pytest.fixture
def live(run_lab, open_page):
    with PageServer(LivePage(run_lab.plan, run_lab.store, "benchbench report suite.yaml"), port=0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield open_page(server.url)
        server.shutdown()


def test_what_happens_shows_and_what_the_reader_did_stays(live, run_lab):
    live.wait("document.querySelector('.connection').textContent === 'Live: no run is using this store now.'")
    live.one("#cells input").send_keys("scratch")
    live.one("#cells tbody button").send_keys(Keys.ENTER)
    cells = [cell.stage for cell in run_lab.cells("scratch")]
    with run_lab.claimed(cells[2]):
        run_lab.folder(cells[2]).path.mkdir()
        state = StageState(status="running", attempts=2, started=time.time() - 65)
        run_lab.folder(cells[2]).write_state(state)
        run_lab.folder(cells[2]).log.write_text("attempt 2 on cpu\nstep 7\n")
        live.wait("document.querySelector('.counts').textContent.includes('1 running')")
        assert live.one(".connection").get_attribute("textContent") == "Live: a run is using this store."
        now = live.one(".running").get_attribute("textContent")
        assert re.fullmatch(r"Running nowscratch \| cifar \| small \| seed 2 0:01:\d\d on \S+ \d+step 7", now)
    run_lab.finish(cells[2], accuracy=0.25)
    live.wait("document.querySelector('.counts').textContent.includes('11 done, 1 failed')")
    accuracies = live.column("Cells", "accuracy (%)")
    assert accuracies == [
        "50.0",
        "–",
        "25.0",
        "60.0",
        "70.0",
        "80.0",
    ]  # the filter finds the scratch teacher's cells too
    assert live.one("dialog[open] h2").text == "scratch | cifar | small | seed 0"


def test_a_server_that_is_gone_is_said_to_be(run_lab, chromium, open_page):
    with PageServer(LivePage(run_lab.plan, run_lab.store, ""), port=0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        page = open_page(server.url)
        page.wait("document.querySelector('.connection').textContent.startsWith('Live')")
        server.shutdown()
    page.wait("document.querySelector('.connection').textContent.startsWith('benchbench watch has ended')")
    assert page.one("h1").text == "tiny"
    assert {entry["source"] for entry in chromium.get_log("browser")} == {"network"}  # the browser's own complaint
