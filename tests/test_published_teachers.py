"""The page on published teachers: timm has each of them, under the licence that the page states."""

from __future__ import annotations

import re
from pathlib import Path

import timm

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "published-teachers.md"


def test_models_and_licences_are_timm_s():
    rows = re.findall(r"^\| .* \| `([\w.]+)` \| (\S+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 9
    assert {name: timm.get_pretrained_cfg(name).license for name, _ in rows} == dict(rows)
