"""Hashes of folders with links."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.planning.content_hash import content_hash


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "own" / "deep").mkdir(parents=True)
    (tmp_path / "own" / "deep" / "a.txt").write_text("a")
    return tmp_path / "own"


def test_links_back_to_a_folder_above_end(folder):
    """Two of them would double with every level."""
    before = content_hash(folder)
    for name in ("one", "two"):
        (folder / "deep" / name).symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    assert content_hash(folder) == before


def test_a_folder_that_is_linked_twice_counts_twice(folder, tmp_path):
    copied = tmp_path / "copied"
    for name in ("one", "two"):
        (folder / name).symlink_to(folder / "deep")
        (copied / name).mkdir(parents=True)
        (copied / name / "a.txt").write_text("a")
    (copied / "deep").mkdir()
    (copied / "deep" / "a.txt").write_text("a")
    assert content_hash(folder) == content_hash(copied)
