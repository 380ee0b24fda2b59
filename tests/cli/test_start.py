"""Ctrl-C while the command is still importing."""

from __future__ import annotations

import sys

import pytest

from benchbench.cli.start import main


def test_an_interrupt_of_the_imports_is_one_line(monkeypatch, capsys):
    class Interrupts:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "benchbench.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "benchbench.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupts, *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
