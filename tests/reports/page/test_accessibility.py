"""What a screen reader, a keyboard or weak eyes cannot use, by axe's rules."""

from __future__ import annotations

from importlib.resources import files

import pytest

pytest.importorskip("selenium")

pytestmark = pytest.mark.browser
RUN = """
const done = arguments[0];
axe.run(document, {resultTypes: ['violations']}).then(found => done(found.violations.map(each =>
    `${each.id}: ${each.help}: ${each.nodes.map(node => node.target).join(' ')}`)));
"""


@pytest.mark.parametrize(
    ("width", "scheme", "opened"), [(1280, "light", False), (1280, "dark", True), (360, "dark", False)]
)
def test_axe_finds_nothing(page, screen, width, scheme, opened):
    screen(width, 800, scheme=scheme)
    if opened:
        page.all("#cells tbody button")[0].click()
    # By the debugger: the page itself allows no script but its own.
    source = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
    assert page.browser.execute_async_script(RUN) == []
