"""Files are written whole or not at all, by any number of writers."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from benchbench.store import remove_leftovers, write_atomic, write_json
from benchbench.store.files import OLD, temporary_path
from benchbench.store.processes import this_process


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

    def test_the_file_of_a_writer_that_lives_stays(self, tmp_path, python):
        path = tmp_path / "a.json"
        own = temporary_path(path)
        own.touch()
        code = "import sys, pathlib\nfrom benchbench.store.files import temporary_path\n"
        code += "temporary_path(pathlib.Path(sys.argv[1])).touch()"
        assert python("-c", code, path).code == 0
        assert len(list(tmp_path.iterdir())) == 2
        write_atomic(path, b"1")
        assert sorted(tmp_path.iterdir()) == sorted([own, path])

    def test_a_file_of_another_machine_goes_when_it_is_old(self, tmp_path):
        path, here = tmp_path / "a.json", this_process()
        new, old = (temporary_path(path).with_name(f".a.json.far-{here.pid}-1-{'0' * 16}{name}.tmp") for name in "ab")
        for each in (new, old):
            each.touch()
        os.utime(old, (0, old.stat().st_mtime - OLD - 10))
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [new]

    def test_a_rename_that_answers_that_there_is_no_file_may_have_happened(self, tmp_path, monkeypatch):
        """NFS repeats a request whose answer was lost."""
        rename, path = Path.replace, tmp_path / "a.json"

        def renamed_twice(old, new):
            rename(old, new)
            rename(old, new)

        monkeypatch.setattr(Path, "replace", renamed_twice)
        write_atomic(path, b"1")
        assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"1"]
        monkeypatch.setattr(
            Path, "replace", lambda old, new: rename(old, new.with_name("elsewhere")) and rename(old, new)
        )
        with pytest.raises(FileNotFoundError):
            write_atomic(path, b"2")
        assert path.read_bytes() == b"1"

    def test_leftovers_in_folders_below_go_and_nothing_else(self, tmp_path):
        (tmp_path / "shards").mkdir()
        for name in ("shards/.0.parquet.ab.tmp", ".checkpoint.pt.cd.tmp", ".old.tmp", "mine.tmp", ".mine"):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (0, 0))
        remove_leftovers(tmp_path)
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".mine", "mine.tmp", "shards"]

    @pytest.mark.parametrize("value", [{"loss": float("nan")}, {"a": object()}])
    def test_a_value_that_is_no_json_is_not_written(self, tmp_path, value):
        write_json(tmp_path / "a.json", {"old": 1})
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", value)
        assert json.loads((tmp_path / "a.json").read_bytes()) == {"old": 1}
