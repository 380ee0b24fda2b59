"""Merging of stores: finished and whole stages are copied once."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import numpy as np
import pytest

from benchbench.planning.keys import key_of
from benchbench.specs.records import CachedFiles, DataRecord
from benchbench.store import StageFolder, Store, file_sha256
from benchbench.synthesis.shards import GeneratedImage, Shards, encode, fingerprint, read_shards
from tests.running.merge.stores import calibration, files, finished, merged, stage
from tests.specs import (
    diffusion_record,
    diffusion_spec,
    outputs_record,
    outputs_spec,
    synthesis_record,
    synthesis_spec,
)


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

    def test_a_kind_on_another_disk(self, stores, tmp_path, monkeypatch):
        """The stage that was begun there is replaced within its disk: nothing is renamed from one to another."""
        a, into = stores("a", "into")
        path, disk, rename = stage(a, 1), tmp_path / "disk", Path.rename
        (disk / path.name).mkdir(parents=True)
        (into / "cell").symlink_to(disk)

        def within_a_disk(old, new):
            if len({disk in each.resolve().parents for each in (old, new)}) > 1:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return rename(old, new)

        monkeypatch.setattr(Path, "rename", within_a_disk)
        (done,) = merged(a, into=into)
        assert (done.copied, done.damaged) == ([f"cell/{path.name}"], {})
        assert files(disk / path.name) == files(path)
        assert [each.name for each in disk.iterdir()] == [path.name]

    @pytest.mark.parametrize("name", ["cell/.merging", "cell/.removed-1", ".sync-1/cell"])
    def test_folders_of_other_commands_are_no_stages(self, stores, name):
        a, into = stores("a", "into")
        path = stage(a, 1)
        (a / name).mkdir(parents=True)
        (done,) = merged(a, into=into)
        assert (done.copied, done.unfinished) == ([f"cell/{path.name}"], [])


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
    """Files that a stage keeps in folders of its own come along, each as it was."""

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


def test_a_ledger_that_cannot_be_copied_ends_no_merge(stores):
    """A folder of such a name is none; one that is in the way is named."""
    a, into = stores("a", "into")
    for folder in (a / "ledger" / "1.jsonl", into / "ledger" / "2.jsonl"):
        folder.mkdir(parents=True)
    for name in ("2.jsonl", "3.jsonl"):
        (a / "ledger" / name).write_text("line\n")
    (done,) = merged(a, into=into)
    assert list(done.damaged) == ["ledger/2.jsonl"]
    assert sorted(each.name for each in (into / "ledger").iterdir()) == ["2.jsonl", "3.jsonl"]
    assert (into / "ledger" / "3.jsonl").read_text() == "line\n"
