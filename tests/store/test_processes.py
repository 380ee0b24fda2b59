"""Processes by an identity that holds whoever asks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchbench.store.processes import birth


@pytest.mark.parametrize(("language", "zone"), [("de_DE.UTF-8", "Europe/Berlin"), ("ja_JP.UTF-8", "Asia/Tokyo")])
def test_a_birth_is_the_same_in_every_language_and_zone(tmp_path, monkeypatch, language, zone):
    """Without /proc it is asked of `ps`, which writes times as its caller's settings say."""
    ps = tmp_path / "ps"
    ps.write_text('#!/bin/sh\necho "$LC_ALL $TZ $4"\n')
    ps.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("LC_ALL", language)
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert birth(7) == "C UTC 7"
