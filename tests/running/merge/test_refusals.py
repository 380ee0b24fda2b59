"""Merging of stores: different and damaged stages are named, and what is no store is refused."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import closing

import pytest

from benchbench.errors import StoreError
from benchbench.running.merge import MERGE
from benchbench.store import Claims, StageFolder, write_json
from benchbench.store.processes import this_process
from tests.running.merge.stores import calibration, files, merged, stage


@pytest.fixture
def unreadable(monkeypatch):
    """Has the copy of a file fail: `unreadable(path, errno.EIO)`; also for root, who may read everything."""

    def make(path, number):
        copy = shutil.copyfileobj

        def fails(read, written):
            if read.name == str(path):
                raise OSError(number, os.strerror(number), read.name)
            copy(read, written)

        monkeypatch.setattr(shutil, "copyfileobj", fails)

    return make


class TestConflicts:
    def test_the_first_is_kept_and_the_difference_named(self, stores):
        a, b, into = stores("a", "b", "into")
        mine, theirs = stage(a, 1), stage(b, 1, weights=b"others", hours=2.0)
        assert mine.name == theirs.name
        first, second = merged(a, b, into=into)
        assert first.copied == [f"cell/{mine.name}"]
        assert second.conflicts == {f"cell/{mine.name}": ["cost", "weights_sha256"]}
        assert files(into / "cell" / mine.name) == files(mine)

    def test_the_rest_is_taken_all_the_same(self, stores):
        a, into = stores("a", "into")
        stage(into, 1, hours=5.0), stage(a, 1), stage(a, 2)
        (done,) = merged(a, into=into)
        assert (len(done.conflicts), len(done.copied)) == (1, 1)


def break_weights(path):
    (path / "weights.safetensors").write_bytes(b"damaged")


def lose_weights(path):
    (path / "weights.safetensors").unlink()


def change_spec(path):
    spec = StageFolder(path).read_spec()
    StageFolder(path).write_spec(spec.model_copy(update={"seed": 99}))


def rename(path):
    path.rename(path.with_name("0" * 16))


def cut_record(path):
    (path / "record.json").write_text('{"key": ')


def other_record(path):
    write_json(path / "record.json", {**json.loads((path / "record.json").read_text()), "key": "0" * 64})


def no_spec(path):
    (path / "spec.json").unlink()


def odd_spec(path):
    write_json(path / "spec.json", ["nothing"])


def other_kind(path):
    path.parent.rename(path.parent.with_name("teacher"))


def no_key(path):
    record = json.loads((path / "record.json").read_text())
    write_json(path / "record.json", {name: value for name, value in record.items() if name != "key"})


def other_accuracy(path):
    record = json.loads((path / "record.json").read_text())
    record["metrics"]["test_correct"] = "f000"
    write_json(path / "record.json", record)


class TestDamage:
    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (break_weights, "the weights in .* are missing or are not those of its record"),
            (lose_weights, "the weights in .* are missing or are not those of its record"),
            (change_spec, "is not the stage .* that its spec.json describes"),
            (rename, "is not the stage .* that its spec.json describes"),
            (other_record, "is not the stage .* that its spec.json describes"),
            (other_kind, "is not the stage .* that its spec.json describes"),
            (cut_record, "record.json cannot be read"),
            (no_spec, "spec.json cannot be read"),
            (odd_spec, "spec.json cannot be read"),
            (no_key, "record.json cannot be read"),
            (other_accuracy, "record.json contradicts itself"),
        ],
    )
    def test_is_named_and_not_taken(self, stores, damage, reason):
        a, into = stores("a", "into")
        damage(stage(a, 1))
        good = calibration(a)
        (done,) = merged(a, into=into)
        (message,) = done.damaged.values()
        assert re.search(reason, message)
        assert "\n" not in message
        assert done.copied == [f"calibration/{good.name}"]
        assert [path.parent.name for path in into.glob("*/*/record.json")] == [good.name]

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOENT])
    def test_a_file_that_cannot_be_read_is_that_of_its_stage_alone(self, stores, unreadable, number):
        a, b, into = stores("a", "b", "into")
        bad, good = sorted([stage(a, 1), stage(a, 2)])
        (a / "ledger").mkdir()
        (a / "ledger" / "1.jsonl").write_text("line\n")
        other = calibration(b)
        unreadable(bad / "log.txt", number)
        first, second = merged(a, b, into=into)
        assert (first.copied, second.copied) == ([f"cell/{good.name}"], [f"calibration/{other.name}"])
        assert list(first.damaged) == [f"cell/{bad.name}"]
        assert f"{bad.name}/log.txt" in first.damaged[f"cell/{bad.name}"]
        assert [each.name for each in (into / "cell").iterdir()] == [good.name]
        assert (into / "ledger" / "1.jsonl").exists()

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
    def test_a_disk_that_takes_nothing_more_ends_the_merge(self, stores, unreadable, number):
        a, into = stores("a", "into")
        first, second = sorted([stage(a, 1), stage(a, 2)])
        unreadable(second / "log.txt", number)
        with pytest.raises(OSError, match=os.strerror(number)):
            merged(a, into=into)
        assert [each.name for each in (into / "cell").iterdir()] == [first.name]

    def test_a_merge_that_is_killed_goes_on(self, stores):
        """Killed while it copies the weights of the second stage: that one is not there, and comes the next time."""
        a, into = stores("a", "into")
        paths = sorted([stage(a, 1), stage(a, 2)])
        code = (
            "import os, sys, shutil\nfrom pathlib import Path\nfrom benchbench.running import merge\n"
            "real = shutil.copyfileobj\n"
            "def dies(read, written):\n"
            f"    if '{paths[1].name}' in read.name and 'weights' in read.name: os._exit(9)\n"
            "    real(read, written)\n"
            "shutil.copyfileobj = dies\n"
            "list(merge.merge_stores([Path(sys.argv[1])], Path(sys.argv[2])))"
        )
        command = [sys.executable, "-c", code, str(a), str(into)]
        assert subprocess.run(command, check=False, env=os.environ).returncode == 9
        assert (into / "cell" / paths[0].name / "record.json").exists()
        assert not (into / "cell" / paths[1].name).exists()
        (done,) = merged(a, into=into)
        assert (len(done.same), len(done.copied)) == (1, 1)
        assert sorted(path.name for path in into.iterdir()) == ["cell", "claims", "store.json"]
        assert sorted(path.name for path in (into / "cell").iterdir()) == [path.name for path in paths]


class TestRefusals:
    def test_no_store(self, stores, tmp_path):
        (a,) = stores("a")
        stage(a, 1)
        with pytest.raises(StoreError, match=r"nowhere is no store: it has no store\.json"):
            merged(a, tmp_path / "nowhere", into=tmp_path / "into")
        assert not (tmp_path / "into").exists()

    def test_another_format(self, stores, tmp_path):
        a, b = stores("a", "b")
        (b / "store.json").write_text('{"format": 99}')
        with pytest.raises(StoreError, match=r"was written by another BenchBench \(format 99"):
            merged(a, b, into=tmp_path / "into")
        assert not (tmp_path / "into").exists()

    def test_into_itself(self, stores):
        (a,) = stores("a")
        with pytest.raises(StoreError, match="is merged into itself"):
            merged(a, into=a.parent / "." / "a")

    def test_a_store_that_another_is_merging_into(self, stores):
        a, into = stores("a", "into")
        with closing(Claims(into, "other")) as claims:
            claims.take(*MERGE)
            with pytest.raises(StoreError, match=r"^\S+ \d+ is merging into store \S+; wait for it$"):
                merged(a, into=into)

    def test_stages_that_a_run_is_at_work_on_are_left_to_it(self, stores):
        a, into = stores("a", "into")
        paths = stage(a, 1), stage(a, 2)
        with closing(Claims(into, "other")) as claims:
            claims.take("cell", paths[0].name)
            (done,) = merged(a, into=into)
        here = this_process()
        assert done.held == {f"cell/{paths[0].name}": f"{here.host} {here.pid}"}
        assert done.copied == [f"cell/{paths[1].name}"]
        (done,) = merged(a, into=into)
        assert (done.held, len(done.copied)) == ({f"cell/{paths[0].name}": f"{here.host} {here.pid}"}, 0)


class TestCommand:
    def test_one_line_per_store(self, cli, stores, tmp_path):
        a, b = stores("a", "b")
        stage(a, 1), stage(a, 2), stage(b, 2, hours=3.0)
        done = cli("merge", a, b, "--into", tmp_path / "into")
        assert (done.code, done.err) == (1, "")
        first, second, conflict = done.out.splitlines()
        assert first == f"{a}: 2 copied"
        assert second == f"{b}: 1 in conflict"
        assert conflict.startswith("  conflict: cell/")
        assert conflict.endswith(f" has another cost in {tmp_path / 'into'}, which is kept")

    def test_all_is_well(self, cli, stores, tmp_path):
        a, b = stores("a", "b")
        stage(a, 1)
        done = cli("merge", a, b, "--into", tmp_path / "into")
        assert (done.code, done.out) == (0, f"{a}: 1 copied\n{b}: no stages\n")

    def test_json(self, cli, stores, tmp_path):
        (a,) = stores("a")
        path = stage(a, 1)
        break_weights(stage(a, 2))
        done = cli("merge", a, "--into", tmp_path / "into", "--json")
        assert done.code == 1
        (source,) = json.loads(done.out)
        assert source["store"] == str(a)
        assert source["copied"] == [f"cell/{path.name}"]
        assert len(source["damaged"]) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "Missing argument 'STORE...'"),
            (["a"], "Missing option '--into'"),
            (["a", "nowhere", "--into", "c"], "nowhere is no store"),
            (["a", "--into", "a"], "merged into itself"),
        ],
    )
    def test_bad_input(self, cli, stores, monkeypatch, arguments, message):
        (a,) = stores("a")
        monkeypatch.chdir(a.parent)
        done = cli("merge", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("\n") == 1
        assert message in done.err
