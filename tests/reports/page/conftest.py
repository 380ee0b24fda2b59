"""A store with everything that a page shows, and one headless browser for all tests that need one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbench.reports.page import write_page
from benchbench.reports.page.data import page_data
from benchbench.reports.write import make_tables

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
COMMAND = "benchbench report suite.yaml"


@pytest.fixture
def told(finished):
    """The finished lab with what its workers said and how they learned; a cell that failed, one that never ran."""
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
    """What a page of a lab says: `data_of(lab, live=True)`."""

    def data(lab, **options) -> dict:
        results, tables = make_tables(lab.plan, lab.store, COMMAND)
        return page_data(lab.plan, lab.store, results, tables, COMMAND, **options)

    return data


@pytest.fixture
def page_of(tmp_path) -> Callable[..., Path]:
    """Writes the page of a lab and gives its path."""

    def page(lab, folder: str = "out") -> Path:
        results, tables = make_tables(lab.plan, lab.store, COMMAND)
        return write_page(lab.plan, lab.store, results, tables, tmp_path / folder, COMMAND)

    return page


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A browser for the whole session."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()
