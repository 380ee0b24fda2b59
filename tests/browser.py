"""Headless Chromium, for tests of the page and for its pictures in the documents."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
MISSING = "needs selenium, chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"


def start_chromium(profile: Path) -> Any:
    """A browser that keeps its console and its requests; None where one of its parts is not installed.

    Args:
        profile: an empty folder of its own.
    """
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        return None
    if not binary or not driver:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def set_screen(browser: Any, size: tuple[int, int], scheme: str = "light", media: str = "") -> None:
    """Sets the window's size in pixels, and what the reader prefers: `light` or `dark`, a screen or `print`."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
