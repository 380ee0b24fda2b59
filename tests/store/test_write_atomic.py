"""Files are written whole or not at all, by any number of writers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from benchbench.store import read_json, remove_leftovers, write_atomic, write_json
from benchbench.store.files import _temporary


class TestWriteAtomic:
    def test_replaces(self, tmp_path):
        path = tmp_path / "a.json"
        write_atomic(path, b"old and longer")
        write_atomic(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("dies_in", ["os.fsync", "pathlib.Path.replace"])
    def test_a_writer_that_dies_leaves_the_old_content(self, tmp_path, python, dies_in):
        path = tmp_path / "a.json"
        path.write_bytes(b"old")
        code = (
            "import os, pathlib, sys\n"
            "from benchbench.store import write_atomic\n"
            f"{dies_in} = lambda *_: os._exit(9)\n"
            "write_atomic(pathlib.Path(sys.argv[1]), b'new')"
        )
        assert python("-c", code, path).code == 9
        assert path.read_bytes() == b"old"
        write_atomic(path, b"newer")  # a temporary file of the dead one is not in the way
        assert path.read_bytes() == b"newer"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_leaves_the_old_content(self, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        path = tmp_path / "a.json"
        path.write_bytes(b"old")
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_atomic(path, b"new")
        assert path.read_bytes() == b"old"

    def test_writers_at_the_same_time_do_not_disturb_one_another(self, tmp_path):
        path, failures = tmp_path / "a.json", []

        def write(number: int) -> None:
            try:
                for _ in range(20):
                    write_atomic(path, bytes([number]) * 5000)
                    assert len(set(path.read_bytes())) == 1  # of one writer
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert list(tmp_path.iterdir()) == [path]

    def test_the_file_of_a_writer_that_lives_stays(self, tmp_path):
        with _temporary(tmp_path / "a.json") as stream:
            write_atomic(tmp_path / "a.json", b"1")
            assert Path(stream.name).exists()
            remove_leftovers(tmp_path)
            assert Path(stream.name).exists()
        remove_leftovers(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]

    def test_leftovers_in_folders_below_go_and_nothing_else(self, tmp_path):
        (tmp_path / "shards").mkdir()
        for name in ("shards/.0.parquet.ab.tmp", ".checkpoint.pt.cd.tmp", ".old.tmp", "mine.tmp", ".mine"):
            (tmp_path / name).touch()
        remove_leftovers(tmp_path)
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".mine", "mine.tmp", "shards"]

    @pytest.mark.parametrize("value", [{"loss": float("nan")}, {"a": object()}])
    def test_a_value_that_is_no_json_is_not_written(self, tmp_path, value):
        write_json(tmp_path / "a.json", {"old": 1})
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", value)
        assert read_json(tmp_path / "a.json") == {"old": 1}
