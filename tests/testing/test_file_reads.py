"""Files that are opened while a component is checked."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from benchbench.testing.file_reads import FileReads, is_under

WAYS = {
    "open": lambda path: open(path).close(),
    "Path": lambda path: path.read_bytes(),
    "os": lambda path: os.close(os.open(os.fsencode(path), os.O_RDONLY)),
    "numpy": lambda path: np.fromfile(path, np.uint8),
    "sqlite": lambda path: sqlite3.connect(path).close(),
}


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "a.csv"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_read(way, file, tmp_path):
    reads = FileReads()
    with reads.recording():
        WAYS[way](file)
    assert reads.data(tmp_path / "data") == [file]


def test_a_thread_and_a_relative_name(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reads = FileReads()
    with reads.recording():
        thread = threading.Thread(target=lambda: open("a.csv").close())
        thread.start()
        thread.join()
    file.with_name("b.csv").write_text("")
    file.with_name("b.csv").read_text()  # it does not record any more
    assert reads.data(tmp_path / "data") == [file]
    assert FileReads(reads).data(tmp_path / "data") == [file]


def test_what_is_no_data_is_left_out(file, tmp_path):
    reads = FileReads()
    (tmp_path / "site-packages").mkdir()
    with reads.recording():
        Path(os.__file__).read_bytes()
        Path("/proc/self/status").read_bytes()
        for name in ("code.py", "pyproject.toml", "site-packages/list.csv", "made.csv", "data.csv"):
            (tmp_path / name).write_text("a")
            (tmp_path / name).read_text()
        with pytest.raises(FileNotFoundError):
            (tmp_path / "absent.csv").read_text()
    assert reads.data(tmp_path / "data") == []
    assert reads.data(tmp_path) == [tmp_path / "made.csv", tmp_path / "data.csv"]  # downloads, made in the first check


def test_links(file, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_under(tmp_path / "link" / "a.csv", [tmp_path / "a.csv"])
    assert is_under(tmp_path / "a.csv", [tmp_path / "link"])
    assert not is_under(tmp_path / "a.csv", [tmp_path / "a"])
