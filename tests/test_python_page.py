"""The page on Python: its examples, run one after another."""

from __future__ import annotations

import contextlib
import io
import re
from types import SimpleNamespace

import pytest

from tests.documents import ROOT, blocks
from tests.networks import in_this_process
from tests.running.commands import on_one_core

PAGE = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")


@pytest.mark.whole_run
def test_the_examples_run_in_their_order(tmp_path, monkeypatch):
    """Each comment behind `print` has what is printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
    names: dict[str, object] = {}
    printed = io.StringIO()
    with on_one_core(), contextlib.redirect_stdout(printed):
        for block in blocks(PAGE, "python"):
            exec(block.code, names)  # noqa: S102
    expected = re.findall(r"print\(.*\)  # (.*)", PAGE)
    assert printed.getvalue().splitlines() == expected
    assert (tmp_path / "paper" / "report.html").is_file()
    assert (tmp_path / "pareto.png").is_file()
