"""Parts that a screen reader, a keyboard or weak eyes cannot use, by axe's rules."""

from __future__ import annotations

import pytest

pytest.importorskip("selenium")

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("width", "scheme", "opened"), [(1280, "light", False), (1280, "dark", True), (360, "dark", False)]
)
def test_axe_finds_nothing(page, screen, width, scheme, opened):
    screen(width, 800, scheme=scheme)
    if opened:
        page.all("#cells tbody button")[0].click()
    assert page.violations() == []
