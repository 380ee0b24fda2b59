"""A store with everything that a page shows, and one headless browser for all tests that need one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from benchbench.reports.page import write_page
from benchbench.reports.page.data import page_data
from benchbench.reports.report import make_report
from tests.browser import MISSING, set_screen, start_chromium

COMMAND = "benchbench report suite.yaml"
AXE = """
const done = arguments[0];
axe.run(document, {resultTypes: ['violations']}).then(found => done(found.violations.map(each =>
    `${each.id}: ${each.help}: ${each.nodes.map(node => node.target).join(' ')}`)));
"""


@pytest.fixture
def run_lab(finished):
    """The finished lab with logs and curves; one cell has failed, and one has never run."""
    for key, stage in finished.plan.stages.items():
        if stage.kind == "calibration":
            continue
        folder = finished.folder(key)
        folder.log.write_text(f"attempt 1 on cpu\n{stage.label} says <hello> & goodbye\n", encoding="utf-8")
        rows = [{"epoch": n, "loss": 3 - n / 2, "train_accuracy": n / 10} for n in range(1, 5)]
        folder.curve.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    failed, missing = (finished.cells("scratch")[n].stage for n in (1, 2))
    finished.folder(failed).record.unlink()
    finished.fail(failed, "OutOfMemoryError: no room")
    shutil.rmtree(finished.folder(missing).path)
    return finished


@pytest.fixture
def data_of() -> Callable[..., dict]:
    """The content of a lab's page: `data_of(lab, live=True)`; with `tables=True` those too, which take most time."""

    def data(lab, tables: bool = False, **options) -> dict:
        report = make_report(lab.plan, lab.store, COMMAND)
        if not tables:
            vars(report)["table_by_name"] = {}
        return page_data(report, **options)

    return data


@pytest.fixture
def page_of(tmp_path) -> Callable[..., Path]:
    """Writes the page of a lab and gives its path."""

    def page(lab, folder: str = "out") -> Path:
        return write_page(make_report(lab.plan, lab.store, COMMAND), tmp_path / folder)

    return page


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[Any]:
    """A browser for the whole session."""
    browser = start_chromium(tmp_path_factory.mktemp("chromium"))
    if browser is None:
        pytest.skip(MISSING)
    browser.looked_at = None
    yield browser
    browser.quit()


class Page:
    """A page that is open in the browser."""

    def __init__(self, browser):
        self.browser = browser

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements("css selector", selector)

    def one(self, selector: str):
        return self.browser.find_element("css selector", selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def violations(self) -> list[str]:
        """Parts that a screen reader, a keyboard or weak eyes cannot use, as axe finds them."""
        # By the debugger: the page itself allows no script but its own.
        source = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
        self.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
        return self.browser.execute_async_script(AXE)

    def sideways(self) -> int:
        """Pixels that the content of the dialog is wider than the dialog."""
        body = "document.querySelector('dialog .body')"
        return self.run(f"return {body}.scrollWidth - {body}.clientWidth")

    def table(self, title: str) -> Any:
        """The table whose title begins so."""
        (table,) = (each for each in self.all("table") if self.text(each, "caption").startswith(title))
        return table

    def text(self, node: Any, selector: str) -> str:
        return self.run("return arguments[0].querySelector(arguments[1]).textContent", node, selector)

    def column(self, title: str, head: str) -> list[str]:
        """The texts of a column from top to bottom, by the titles of its table and of itself."""
        rows = "[...arguments[0].tBodies[0].rows]"
        return self.run(
            f"return {rows}.map(row => row.cells[arguments[1]].innerText)", self.table(title), self._place(title, head)
        )

    def sort(self, title: str, head: str) -> str:
        """Presses Enter on the head of a column; gives the order that is then announced."""
        cell = "arguments[0].tHead.rows[0].cells[arguments[1]]"
        where = self.table(title), self._place(title, head)
        self.run(f"{cell}.firstChild.focus()", *where)
        self.browser.switch_to.active_element.send_keys("\ue007")  # enter
        return self.run(f"return {cell}.ariaSort", *where)

    def _place(self, title: str, head: str) -> int:
        heads = "[...arguments[0].tHead.rows[0].cells].map(cell => cell.firstChild.firstChild.data)"
        return self.run(f"return {heads}", self.table(title)).index(head)

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
        set_screen(chromium, (width, height), scheme, media)

    become()
    yield become
    become()


@pytest.fixture
def open_page(chromium, screen) -> Iterator[Callable[..., Page]]:
    """Opens a file or an address. At the end: the console is empty, and nothing else was requested."""
    opened: list[str] = []

    def open_(where: Path | str) -> Page:
        chromium.looked_at = None
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


@pytest.fixture(scope="session")
def written() -> dict[str, Path]:
    """The page of the lab with everything, once a test has written it."""
    return {}


@pytest.fixture
def run_page(request, written, tmp_path_factory) -> Path:
    """The page of the lab with everything, written once for all tests that only open it."""
    if "run" not in written:
        lab = request.getfixturevalue("run_lab")
        written["run"] = write_page(make_report(lab.plan, lab.store, COMMAND), tmp_path_factory.mktemp("page"))
    return written["run"]


@pytest.fixture
def page(run_page, open_page) -> Page:
    """That page, opened for this test."""
    return open_page(run_page)


@pytest.fixture
def still_page(run_page, chromium, open_page) -> Page:
    """The same for tests that only look: opened again only after a test that did more."""
    if chromium.looked_at != run_page:
        open_page(run_page)
        chromium.looked_at = run_page
    return Page(chromium)
