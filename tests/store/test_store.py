"""The store: one format, one writer, whole files or none, and reads that name the damage."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.errors import StoreError
from benchbench.specs.records import TrainingMetrics
from benchbench.store import (
    StageState,
    Store,
    file_sha256,
)
from tests.specs import cost_record, outputs_record, training_record, training_spec
from tests.store.keys import KEY


class TestFormat:
    def test_open_marks_it(self, tmp_path):
        store = Store(tmp_path / "deep" / "runs")
        store.check_format()
        assert not store.root.exists()
        store.open()
        store.open()
        store.check_format()
        assert json.loads((store.root / "store.json").read_text())["format"]

    @pytest.mark.parametrize(
        ("content", "author", "version"),
        [
            ('{"format": 1}', "an older", "1"),
            ('{"format": 0}', "an older", "0"),
            ('{"format": 99}', "another", "99"),
            ("{}", "another", "None"),
            ("[1]", "another", "None"),
            ('{"format": "1"}', "another", "1"),
        ],
    )
    def test_of_another_version(self, store, content, author, version):
        (store.root / "store.json").write_text(content)
        for check in (store.check_format, store.open):
            with pytest.raises(StoreError) as caught:
                check()
            assert str(caught.value) == (
                f"store {store.root} was written by {author} BenchBench (format {version}; this one reads 2); "
                "use another --store DIR and run the suite again, or go on with the version that wrote it"
            )

    def test_damaged_marker_never_says_to_delete_the_store(self, store):
        (store.root / "store.json").write_text('{"form')
        with pytest.raises(StoreError, match=r"store\.json cannot be read \(.*\); use another --store DIR$"):
            store.check_format()

    def test_that_is_a_file(self, tmp_path):
        (tmp_path / "runs").touch()
        for check in (Store(tmp_path / "runs").check_format, Store(tmp_path / "runs").open):
            with pytest.raises(StoreError, match="is a file; give a folder with --store"):
                check()

    def test_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match=r"cannot write store .*; use another --store DIR"):
            Store(tmp_path / "file" / "runs").open()


class TestStages:
    def test_folder(self, store):
        assert store.stage("cell", KEY).path == store.root / "cell" / KEY[:16]

    def test_done_when_there_is_a_record(self, folder):
        assert folder.done() is None
        folder.write_state(StageState(status="running"))
        assert folder.done() is None
        folder.write_record(training_record())
        assert folder.done() == training_record()
        assert folder.read_curve() == []

    def test_a_record_comes_with_its_curve(self, folder):
        curve = [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 0.1}]
        folder.write_record(training_record(), curve)
        assert folder.read_curve() == curve
        assert folder.curve.read_text().count("\n") == 2

    @pytest.mark.parametrize("content", ["", "{", '{"epoch": 1}\n{"ep', "1\n2\n"])
    def test_a_damaged_curve_is_no_curve(self, folder, content):
        folder.curve.write_text(content)
        assert folder.read_curve() == []

    @pytest.mark.parametrize("hours", [float("nan"), float("inf")])
    def test_a_record_without_a_number_is_not_written(self, folder, hours):
        cost = cost_record().model_copy(update={"device_hours": hours})  # unchecked, unlike a new one
        with pytest.raises(ValueError, match="not JSON compliant"):
            folder.write_record(training_record().model_copy(update={"cost": cost}), [{"epoch": 1}])
        assert list(folder.path.iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b'{"metrics": {"test_acc', "Invalid JSON: EOF"),
            (b"", "Invalid JSON: EOF"),
            (b"\xff\xfe\x00", "Invalid JSON"),
            (b"{}", "Unable to extract tag using discriminator 'kind'"),
            (b'{"kind": "cell", "metrics": {}}', "cell.cost: Field required"),
            (b'{"kind": "future"}', "Input tag 'future' found using 'kind' does not match any of the expected tags"),
        ],
    )
    def test_damaged_record(self, folder, content, reason):
        folder.record.write_bytes(content)
        with pytest.raises(StoreError) as caught:
            folder.done()
        assert str(caught.value).startswith(f"{folder.record} cannot be read ({reason}")
        assert str(caught.value).endswith(f"); delete {folder.path} to run it again")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"metrics.test_accuracy": 0.6}, "metrics.test_accuracy is 0.6, and test_correct has 5 of 10 images right"),
            ({"metrics.test_accuracy": 1.5}, "metrics.test_accuracy is 1.5, not in 0..1"),
            ({"metrics.validation_accuracy": -1}, "metrics.validation_accuracy is -1, not in 0..1"),
            ({"metrics.test_correct": "f8"}, "metrics.test_correct is not 2 bytes in hex for 10 images"),
            ({"metrics.test_correct": "xy00"}, "metrics.test_correct is not 2 bytes in hex for 10 images"),
            ({"metrics.test_correct": "f020"}, "metrics.test_correct has more bits than the 10 test images"),
            ({"metrics.test_count": 9}, "metrics.test_accuracy is 0.5, and test_correct has 5 of 9 images right"),
            ({"metrics.test_count": -1}, "cell.metrics.test_count: Input should be greater than or equal to 0"),
            ({"metrics.test_count": 10**30}, "cell.metrics.test_count: Input should be less than"),
            ({"cost.device_hours": 2.0}, "cost.device_hours is 2, and cost.seconds on 1 devices are 1"),
            ({"cost.devices": 2}, "cost.device_hours is 1, and cost.seconds on 2 devices are 2"),
            ({"cost.alone_device_hours": 9}, "cost.alone_device_hours is 9, and cost.alone_seconds on 1 devices are 1"),
            ({"cost.seconds": {"student": 3601.0, "data": -1.0}}, "cost.seconds has a negative time"),
            ({"cost.device_hours": float("nan")}, "cell.cost.device_hours: Input should be a finite number"),
            ({"cost.seconds": {"student": float("inf")}}, "cell.cost.seconds.student: Input should be a finite number"),
            ({"data.synthetic": {"share": float("nan")}}, "data has a number that is not finite, or too large"),
            ({"data.synthetic": {"n": [{"m": 10**300}]}}, "data has a number that is not finite, or too large"),
        ],
    )
    def test_a_record_that_contradicts_itself(self, folder, change, reason):
        metrics = TrainingMetrics(test_accuracy=0.5, test_count=10, test_correct="f800", chosen_epoch=1)
        folder.write_record(training_record(metrics=metrics))
        assert folder.done() is not None
        content = json.loads(folder.record.read_text())
        ((place, value),) = change.items()
        part, name = place.split(".")
        content[part][name] = value
        folder.record.write_text(json.dumps(content))
        with pytest.raises(StoreError) as caught:
            folder.done()
        assert f" ({reason}" in str(caught.value)
        assert str(caught.value).endswith(f"); delete {folder.path} to run it again")

    def test_times_that_are_not_charged_are_in_no_hours(self, folder):
        seconds = {"student": 3600.0, "loading": 50.0}
        cost = cost_record(seconds=seconds, alone_seconds=seconds, device_hours=1.0, alone_device_hours=1.0)
        folder.write_record(training_record(cost=cost))
        assert folder.done() is not None

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"[" * 100_000, "recursion limit"),
            (b'{"a":' * 100_000, "recursion limit"),
            (b'{"kind": "cell", "metrics": {"test_count": ' + b"1" * 5000 + b"}}", "number out of range"),
            (
                b'{"kind": "tuning", "' + b"x" * 10**6 + b'": 1, "cost": {"seconds": {"' + b"y" * 10**6 + b'": "z"}}}',
                "",
            ),
        ],
    )
    def test_absurd_json_is_one_short_line(self, folder, content, reason):
        for file, read in ((folder.record, folder.done), (folder.spec, folder.read_spec)):
            file.write_bytes(content)
            with pytest.raises(StoreError) as caught:
                read()
            assert reason in str(caught.value)
            assert len(str(caught.value)) < 1000
            assert "\n" not in str(caught.value)
        folder.state.write_bytes(content)
        folder.curve.write_bytes(content)
        assert (folder.read_state(), folder.read_curve()) == (StageState(), [])
        (folder.path.parent / "store.json").write_bytes(content)
        with pytest.raises(StoreError):
            Store(folder.path.parent).check_format()

    def test_a_file_that_is_too_large_is_not_read(self, folder):
        with folder.record.open("wb") as stream:
            stream.truncate(2**40)  # a hole
        with pytest.raises(StoreError, match=r"it has 1,099,511,627,776 bytes, and at most 67,108,864 are read"):
            folder.done()

    def test_a_name_that_is_there_twice(self, folder):
        folder.write_record(training_record())
        text = folder.record.read_text()
        folder.record.write_text(text.replace('"test_count": 10', '"test_count": 10, "test_count": 10'))
        with pytest.raises(
            StoreError, match=r"record\.json cannot be read \(ValueError: 'test_count' is there twice\)"
        ):
            folder.done()

    @pytest.mark.parametrize("field", ["key", "label", "environment"])
    def test_a_record_without_what_its_worker_adds_is_damaged(self, folder, field):
        folder.write_record(training_record())
        content = json.loads(folder.record.read_text())
        del content[field]
        folder.record.write_text(json.dumps(content))
        with pytest.raises(StoreError) as caught:
            folder.done()
        reason = f"{folder.record} cannot be read (cell.{field}: Field required); delete {folder.path} to run it again"
        assert str(caught.value) == reason

    def test_a_record_that_cannot_be_opened(self, folder):
        folder.record.mkdir()
        with pytest.raises(StoreError, match=r"record\.json cannot be read \(IsADirectoryError: .*\); delete"):
            folder.done()

    def test_spec(self, folder):
        with pytest.raises(StoreError, match=r"spec\.json cannot be read \(FileNotFoundError: .*\); delete"):
            folder.read_spec()
        folder.write_spec(training_spec(seed=3))
        assert folder.read_spec() == training_spec(seed=3)
        assert json.loads(folder.spec.read_text()) == training_spec(seed=3).as_json()
        folder.spec.write_text('{"kind": "cell", "seed": 3}')
        with pytest.raises(
            StoreError, match=rf"spec\.json cannot be read \(cell\.\w+: Field required\); delete {folder.path}"
        ):
            folder.read_spec()

    def test_damaged_state_is_no_state(self, folder):
        assert folder.read_state() == StageState(status=None, attempts=0)
        folder.state.write_text('{"status": "fai')
        assert folder.read_state() == StageState()
        state = StageState(status="failed", attempts=2, reason="why")
        folder.write_state(state)
        assert folder.read_state() == state

    def test_weights_are_verified(self, folder):
        folder.weights.write_bytes(b"weights")
        assert file_sha256(folder.weights) == hashlib.sha256(b"weights").hexdigest()
        with pytest.raises(StoreError, match="missing or damaged"):
            folder.verified_weights()  # without a record
        folder.write_record(training_record(weights_sha256=hashlib.sha256(b"weights").hexdigest()))
        assert folder.verified_weights() == folder.weights

    @pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"weightz"), Path.unlink])
    def test_damaged_weights(self, folder, damage):
        folder.weights.write_bytes(b"weights")
        folder.write_record(training_record(weights_sha256=hashlib.sha256(b"weights").hexdigest()))
        damage(folder.weights)
        with pytest.raises(StoreError) as caught:
            folder.verified_weights()
        assert str(caught.value) == f"{folder.weights} is missing or damaged; delete {folder.path} to train it again"

    def test_outputs_are_verified(self, folder):
        with pytest.raises(StoreError, match=f"{folder.path} holds no finished stage of outputs; run the suite again"):
            folder.verified_outputs()
        folder.outputs.mkdir()
        (folder.outputs / "logits.npy").write_bytes(b"numbers")
        hashes = {"logits": hashlib.sha256(b"numbers").hexdigest()}
        record = outputs_record()
        record = record.model_copy(update={"outputs": record.outputs.model_copy(update={"sha256": hashes})})
        folder.write_record(record)
        assert folder.verified_outputs() == (record, {"logits": folder.outputs / "logits.npy"})
        (folder.outputs / "logits.npy").write_bytes(b"numberz")
        with pytest.raises(StoreError, match=rf"logits\.npy is missing or damaged; delete {folder.path} to compute"):
            folder.verified_outputs()

    def test_outputs_of_another_kind_of_stage(self, folder):
        folder.write_record(training_record())
        with pytest.raises(StoreError, match="holds no finished stage of outputs"):
            folder.verified_outputs()


CLAIM = """
import sys
from pathlib import Path
from benchbench.store import Claims
claims = Claims(Path(sys.argv[1]), "a run")
claim = claims.take("cell", "0123")
print("claimed", flush=True)
sys.stdin.readline()
claims.release(claim, finished=True)
"""


def test_a_claim_is_live_while_a_process_has_a_stage_and_is_alive(store):
    """Asked by one that only reads."""
    assert not Store(store.root / "nowhere").live_claims()
    for killed in (False, True):
        with subprocess.Popen(
            [sys.executable, "-c", CLAIM, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline()
            (name, held), *_ = store.live_claims().items()
            assert (name, held.holder.process.pid) == ("cell-0123", other.pid)
            if killed:
                other.kill()
            other.communicate(None if killed else "\n")
        assert not store.live_claims()
