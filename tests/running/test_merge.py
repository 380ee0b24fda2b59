"""Merging of stores: finished and whole stages are copied once; different and damaged ones are named."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchbench.errors import StoreError
from benchbench.planning.keys import key_of
from benchbench.running.merge import Merged, merge_stores
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.specs.records import CachedFiles, DataRecord, StageRecord
from benchbench.specs.stages import StageSpec
from benchbench.store import StageFolder, Store, file_sha256, write_json
from benchbench.synthesis.shards import GeneratedImage, Shards, encode, fingerprint, read_shards
from tests.specs import (
    SMALL,
    calibration_record,
    calibration_spec,
    cost_record,
    diffusion_record,
    diffusion_spec,
    outputs_record,
    outputs_spec,
    synthesis_record,
    synthesis_spec,
    training_record,
    training_spec,
)


def stage(root: Path, seed: int, kind: str = "cell", weights: bytes = b"weights", hours: float = 1.0) -> Path:
    """A finished training, as workers leave one; gives its folder."""
    file = FileSpec(path=f"/home/{root.name}/w.pth", content="ab")
    model = SMALL.model_copy(update={"weights": WeightsSpec(file=file)})
    spec = training_spec(kind=kind, seed=seed, model=model)
    folder = finished(root, spec, training_record(kind=kind, cost=cost_record(device_hours=hours)), weights)
    folder.log.write_text("attempt 1\n")
    return folder.path


def calibration(root: Path) -> Path:
    """A finished stage without weights; gives its folder."""
    return finished(root, calibration_spec(), calibration_record(), None).path


def finished(root: Path, spec: StageSpec, record: StageRecord, weights: bytes | None) -> StageFolder:
    key = key_of(spec)
    folder = Store(root).stage(spec.kind, key)
    folder.path.mkdir(parents=True, exist_ok=True)
    if weights is not None:
        folder.weights.write_bytes(weights)
    digest = file_sha256(folder.weights) if weights is not None else record.weights_sha256
    folder.write_spec(spec)
    folder.write_record(record.model_copy(update={"key": key, "weights_sha256": digest}), [{"epoch": 1}])
    return folder


@pytest.fixture
def stores(tmp_path):
    """Folders of empty stores, by name."""

    def make(*names):
        for name in names:
            Store(tmp_path / name).open()
        return [tmp_path / name for name in names]

    return make


def merged(*sources: Path, into: Path) -> list[Merged]:
    return list(merge_stores(sources, into))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestCopies:
    def test_finished_stages_of_every_kind(self, stores, tmp_path):
        a, b = stores("a", "b")
        paths = [stage(a, 1), stage(a, 2, "teacher"), calibration(b)]
        first, second = merged(a, b, into=tmp_path / "new" / "runs")
        assert first.copied == [f"cell/{paths[0].name}", f"teacher/{paths[1].name}"]
        assert second.copied == [f"calibration/{paths[2].name}"]
        for path in paths:
            assert files(tmp_path / "new" / "runs" / path.parent.name / path.name) == files(path)
        Store(tmp_path / "new" / "runs").check_format()

    def test_the_sources_stay_as_they_are(self, stores, tmp_path):
        (a,) = stores("a")
        path = stage(a, 1)
        before = files(path)
        merged(a, into=tmp_path / "into")
        assert files(path) == before
        assert sorted(each.name for each in a.iterdir()) == ["cell", "store.json"]

    def test_stages_that_the_target_has_stay(self, stores):
        a, into = stores("a", "into")
        stage(a, 1)
        merged(a, into=into)
        (again,) = merged(a, into=into)
        assert (again.copied, len(again.same), again.conflicts) == ([], 1, {})

    def test_unfinished_stages_are_left_out(self, stores):
        a, into = stores("a", "into")
        path = stage(a, 1)
        (path / "record.json").unlink()
        (done,) = merged(a, into=into)
        assert (done.copied, done.unfinished) == ([], [f"cell/{path.name}"])
        assert not (into / "cell").exists()

    def test_traces_of_the_run_itself_are_left_out(self, stores, tmp_path):
        a, into = stores("a", "into")
        path = stage(a, 1)
        for name in ("state.json", "checkpoint.pt", ".record.json.tmp"):
            (path / name).write_text("x")
        (path / "link").symlink_to("/etc/passwd")
        merged(a, into=into)
        copied = {each.name for each in (into / "cell" / path.name).iterdir()}
        assert copied == {"spec.json", "record.json", "curve.jsonl", "log.txt", "weights.safetensors"}

    def test_it_takes_the_place_of_one_that_was_begun(self, stores):
        a, into = stores("a", "into")
        path = stage(a, 1)
        begun = into / "cell" / path.name
        begun.mkdir(parents=True)
        (begun / "checkpoint.pt").write_text("half")
        (done,) = merged(a, into=into)
        assert done.copied == [f"cell/{path.name}"]
        assert files(begun) == files(path)


def outputs(root: Path, seed: int = 0) -> Path:
    """A finished stage of cached outputs; gives its folder."""
    spec = outputs_spec(view_seed=seed)
    path = Store(root).stage("outputs", key_of(spec)).path
    (path / "outputs").mkdir(parents=True)
    hashes = {}
    for name in ("train.labels", "train.embedding"):
        file = path / "outputs" / f"{name}.npy"
        file.write_bytes(f"{name} {seed}".encode())
        hashes[name] = file_sha256(file)
    record = outputs_record(outputs=CachedFiles(view_seed=seed, sha256=hashes, bytes=1))
    return finished(root, spec, record, None).path


def synthesis(root: Path) -> Path:
    """A finished set of two generated images; gives its folder."""
    spec = synthesis_spec()
    path = Store(root).stage("synthesis", key_of(spec)).path
    path.mkdir(parents=True)
    shards = Shards(path)
    png = encode(np.zeros((2, 2, 3), np.uint8))
    shards.add([GeneratedImage(label, 0, 1, 0, None, png) for label in (0, 1)])
    shards.finish()
    data = DataRecord(names=("a", "b"), train=2, sha256=fingerprint(read_shards(StageFolder(path))))
    return finished(root, spec, synthesis_record(2, data=data), None).path


def diffusion(root: Path) -> Path:
    """A finished training of a generator; gives its folder."""
    spec = diffusion_spec()
    path = Store(root).stage("diffusion", key_of(spec)).path
    (path / "pipeline" / "unet").mkdir(parents=True)
    (path / "pipeline" / "model_index.json").write_text("{}")
    weights = path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"weights")
    return finished(root, spec, diffusion_record(weights_sha256=file_sha256(weights)), None).path


def whole(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFilesBelowAStage:
    """What a stage keeps in folders of its own comes along, each file as it was."""

    MAKERS = (outputs, synthesis, diffusion)

    @pytest.mark.parametrize("make", MAKERS)
    def test_come_along(self, stores, make):
        a, into = stores("a", "into")
        path = make(a)
        (done,) = merged(a, into=into)
        assert (len(done.copied), done.damaged) == (1, {})
        copy = into / path.parent.name / path.name
        assert whole(copy) == whole(path)
        assert any(len(file.parts) > 1 for file in whole(copy))

    def test_the_merged_store_can_be_run(self, stores):
        a, into = stores("a", "into")
        path = outputs(a)
        merged(a, into=into)
        record, files = StageFolder(into / "outputs" / path.name).verified_outputs()
        assert sorted(files) == ["train.embedding", "train.labels"] == sorted(record.outputs.sha256)

    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("lose", ["one file", "all"])
    def test_that_are_missing_or_damaged_are_named(self, stores, make, lose):
        a, into = stores("a", "into")
        path = make(a)
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.parent != path)
        if lose == "all":
            for file in files:
                file.unlink()
            for folder in sorted((each for each in path.rglob("*") if each.is_dir()), reverse=True):
                folder.rmdir()
        else:
            files[-1].write_bytes(files[-1].read_bytes()[:-1] + b"?")
        (done,) = merged(a, into=into)
        assert (done.copied, len(done.damaged)) == ([], 1)
        (reason,) = done.damaged.values()
        assert "missing" in reason
        assert str(path) in reason
        assert not list(into.glob("*/*/record.json"))

    def test_a_stage_that_came_without_them_is_made_whole(self, stores):
        a, into = stores("a", "into")
        path = outputs(a)
        merged(a, into=into)
        copy = into / "outputs" / path.name
        (copy / "outputs" / "train.labels.npy").unlink()
        (done,) = merged(a, into=into)
        assert done.copied == [f"outputs/{path.name}"]
        assert whole(copy) == whole(path)
        (done,) = merged(a, into=into)
        assert (done.copied, done.same) == ([], [f"outputs/{path.name}"])

    def test_that_lie_behind_a_link_come_as_files(self, stores, tmp_path):
        a, into = stores("a", "into")
        path = outputs(a)
        (path / "outputs").rename(tmp_path / "elsewhere")
        (path / "outputs").symlink_to(tmp_path / "elsewhere")
        merged(a, into=into)
        copy = into / "outputs" / path.name / "outputs"
        assert not copy.is_symlink()
        assert len(whole(copy)) == 2

    def test_a_copy_that_is_not_what_was_read_is_not_taken(self, stores, monkeypatch):
        a, into = stores("a", "into")
        path = diffusion(a)

        def flips(original, duplicate):
            duplicate.write(original.read()[:-1] + b"?")

        monkeypatch.setattr("shutil.copyfileobj", flips)
        (done,) = merged(a, into=into)
        assert re.search("the copy of .* has another content", done.damaged[f"diffusion/{path.name}"])
        assert not list(into.glob("*/*/record.json"))


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
        assert sorted(path.name for path in into.iterdir()) == [".lock", "cell", "store.json"]
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

    def test_a_store_that_a_run_is_using(self, stores, monkeypatch):
        a, into = stores("a", "into")
        monkeypatch.setattr("time.monotonic", itertools.count(0, 100).__next__)
        with Store(into).locked(), pytest.raises(StoreError, match="another benchbench run is using store"):
            merged(a, into=into)


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


def test_ledgers_come_along_once_and_grown_ones_again(stores):
    a, b, c = stores("a", "b", "c")
    for root, name, text in ((a, "1.jsonl", "one\n"), (b, "2.jsonl", "two\n"), (b, "notes.txt", "no ledger")):
        (root / "ledger").mkdir(exist_ok=True)
        (root / "ledger" / name).write_text(text)
    merged(a, b, into=c)
    assert files(c / "ledger") == {"1.jsonl": b"one\n", "2.jsonl": b"two\n"}
    (a / "ledger" / "1.jsonl").write_text("one\nmore\n")
    (b / "ledger" / "2.jsonl").write_text("t")
    merged(a, b, into=c)
    assert files(c / "ledger") == {"1.jsonl": b"one\nmore\n", "2.jsonl": b"two\n"}
