"""Shards: what was made comes back, a kill costs a line, and damage is named."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.errors import DataError
from benchbench.specs.parts import Json
from benchbench.specs.records import DataRecord, SynthesisMetrics
from benchbench.store import StageFolder, write_json
from benchbench.synthesis import shards
from benchbench.synthesis.shards import GeneratedImage, Shards, encode, fingerprint, open_shards, read_shards, summary
from tests.specs import synthesis_record


def image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)


def made(label: int, index: int, **more) -> GeneratedImage:
    png = encode(image(10 * label + index))
    fields = {"label": label, "index": index, "seed": index, "attempt": 0, "prompt": "a cat", "png": png}
    return GeneratedImage(**fields | more)


@pytest.fixture
def folder(tmp_path) -> StageFolder:
    return StageFolder(tmp_path)


def finish(folder: StageFolder) -> None:
    write_json(folder.record, record_of(folder, fingerprint(read_shards(folder))))


def record_of(folder: StageFolder, sha256: str) -> Json:
    images = read_shards(folder)
    data = DataRecord(names=("cat", "dog"), train=len(images), sha256=sha256)
    return synthesis_record(metrics=summary(images), data=data).model_dump(mode="json")


def test_what_was_made_comes_back(folder, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 2)
    writer = Shards(folder.path)
    writer.add([made(1, 0), made(0, 1), made(0, 0)])
    writer.add([made(1, 1, png=None, refused=("black", "black"))])
    writer.add([made(0, 2, attempt=1, refused=("not finite",))])
    writer.finish()
    finish(folder)
    assert len(list((folder.path / "shards").iterdir())) == 3
    dataset = open_shards(folder)
    assert dataset.labels.tolist() == [0, 0, 0, 1]
    assert dataset.class_index.tolist() == [0, 1, 2, 0]
    assert dataset.classes == ("cat", "dog")
    assert np.array_equal(dataset.array[3], image(10))
    assert np.array_equal(np.array(dataset.image(1)), image(1))
    rejected = {"black": 2, "not finite": 1}
    assert summary(read_shards(folder)) == SynthesisMetrics(images=4, rejected=rejected, retried=1, given_up=1)


def test_a_kill_costs_the_line_that_it_cuts_short(folder):
    Shards(folder.path).add([made(0, 0), made(0, 1)])
    file = folder.path / "shards" / "unfinished.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    again = Shards(folder.path)
    assert again.done() == {(0, 0)}
    again.add([made(0, 1)])
    again.finish()
    assert [each.index for each in read_shards(folder)] == [0, 1]
    assert not file.exists()


def test_a_shard_that_was_written_before_its_lines_were_taken_away(folder):
    """Killed between the two: no image is there twice."""
    writer = Shards(folder.path)
    writer.add([made(0, 0)])
    lines = (folder.path / "shards" / "unfinished.jsonl").read_bytes()
    writer.finish()
    (folder.path / "shards" / "unfinished.jsonl").write_bytes(lines)
    again = Shards(folder.path)
    assert again.pending == []
    again.finish()
    assert len(read_shards(folder)) == 1


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data.replace(b"IDAT", b"IDAX", 1)]
)
def test_a_damaged_shard_is_named_and_made_again(damage, folder, capsys):
    writer = Shards(folder.path)
    writer.add([made(0, 0)])
    writer.finish()
    finish(folder)
    (shard,) = (folder.path / "shards").glob("*.parquet")
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(DataError, match=r"00000\.parquet is damaged"):
        open_shards(folder)
    assert Shards(folder.path).done() == set()
    assert "its images are made again" in capsys.readouterr().out


def test_images_of_another_set_are_refused(folder):
    writer = Shards(folder.path)
    writer.add([made(0, 0)])
    writer.finish()
    write_json(folder.record, record_of(folder, "0" * 64))
    with pytest.raises(DataError, match="not those of its record"):
        open_shards(folder)


def test_without_shards(folder):
    with pytest.raises(DataError, match="has no shards of images"):
        read_shards(folder)
