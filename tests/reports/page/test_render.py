"""The file: one, the same for the same results, and closed to what is not its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from benchbench.errors import StoreError
from benchbench.reports.page.render import SCRIPTS, render, to_json


def parts(page: str) -> tuple[str, str, str]:
    """The policy, the style and the script of a page."""
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    return policy, style, script


def test_one_file_that_asks_for_nothing(run_lab, page_of):
    page = page_of(run_lab).read_text(encoding="utf-8")
    assert [path.name for path in page_of(run_lab).parent.iterdir()] == ["report.html"]
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(""", page)


def test_the_same_results_give_the_same_bytes(run_lab, page_of):
    assert page_of(run_lab, "one").read_bytes() == page_of(run_lab, "two").read_bytes()


def test_only_its_own_script_and_style_may_act(run_lab, data_of):
    policy, style, script = parts(render(data_of(run_lab)))
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in [("style", style), ("script", script)]
    }
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["trusted-types"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest['script']}'"
    assert rules["style-src"] == f"'sha256-{digest['style']}'"
    assert "connect-src" not in rules


def test_only_a_live_page_may_ask_where_it_came_from(run_lab, data_of):
    policy, _, _ = parts(render(data_of(run_lab, live=True)))
    assert "connect-src 'self'" in policy.split("; ")


def test_the_script_makes_no_code_and_no_markup(run_lab, data_of):
    _, _, script = parts(render(data_of(run_lab)))
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser", script
    )
    assert "<!--" not in script
    assert not re.findall(r"\.style\b", script)  # which the policy would refuse
    assert len(SCRIPTS) == len(set(SCRIPTS))


def test_data_that_look_like_markup_or_a_placeholder(run_lab, data_of):
    text = "</script><!-- @@SCRIPT@@ & \u2028 \ud800"
    page = render(data_of(run_lab) | {"suite": text})
    (data,) = re.findall(r'id="data">(.*?)</script>', page)
    assert json.loads(data)["suite"] == text
    assert page.isascii() or "\u2028" not in page
    assert to_json("<&>\u2029") == r'"\u003c\u0026\u003e\u2029"'
    page.encode()  # a lone surrogate, say, cannot keep the page from being written


def test_a_folder_that_cannot_be_written(run_lab, page_of, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write the report to .*file/out .*; use another --report DIR"):
        page_of(run_lab, "file/out")
