"""The Weights & Biases run of a finished stage, read back by its file format."""

import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from benchbench.planning.model import Stage
from benchbench.plugins import load_plugins
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.specs.records import TrainingMetrics
from benchbench.testing import checks_of
from tests.specs import SMALL, cost_record, recipe_spec, training_record, training_spec

pytest.importorskip("wandb", reason="wandb is not installed")
pytestmark = pytest.mark.whole_run
ENVIRONMENT = ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR")
BLOCK = 32768
FILE = Path(__file__).parent.parent / "benchbench_wandb.py"
SPEC = training_spec(seed=3, recipe=recipe_spec(epochs=2, lr=0.001))
STAGE = Stage(SPEC, "0a" * 32, "A/U, big (finetune) | ../cifar | small | seed 3")
METRICS = TrainingMetrics(test_accuracy=0.625, test_count=8, test_correct="ff", chosen_epoch=2)
RECORD = training_record(metrics=METRICS, cost=cost_record(device_hours=1.25))
CURVE = [
    {"epoch": 0, "loss": 9.0},  # the first stage of a two-stage method
    {"epoch": 1, "loss": 2.0, "align_uniform.uniform": -1.5},
    {"epoch": 2, "loss": 1.0, "align_uniform.uniform": -2.5},
]


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Calls the plugin with a finished stage, as a run does; gives the folder that it works in."""
    monkeypatch.chdir(tmp_path)
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CURVE))
    hooks = LifecycleHooks(load_plugins([FILE]))

    def finish(stage=STAGE, record=RECORD, curve=True):
        hooks.stage_finished(stage, record, folder if curve else tmp_path / "none")
        assert hooks.broken == set()
        return tmp_path

    return finish


@pytest.mark.parametrize("check", checks_of(FILE), ids=str)
def test_contract(check):
    finding = check.run()
    assert finding.status != "failed", finding


@pytest.fixture(autouse=True)
def calls(monkeypatch, finished):
    """Bytes of every connection to the outside: every address leads here."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "WANDB_BASE_URL"):
            monkeypatch.setenv(name, here)

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    received.append(connection.recv(100))

        threading.Thread(target=listen, daemon=True).start()
        yield received


def records(folder):
    """Records of an offline run; on a busy machine W&B's own process may still write when `finish` returns."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 60
    while True:
        messages = parsed(path.read_bytes())
        if any(message.HasField("exit") for message in messages):
            return messages
        assert time.monotonic() < deadline, "the run's file has no end"
        time.sleep(0.1)


def parsed(data):
    """Whole messages of a log of protocol buffers in LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    offset, part, messages = 7, b"", []  # after the file's own header
    while offset + 7 <= len(data):
        if BLOCK - offset % BLOCK < 7:
            offset += BLOCK - offset % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[offset : offset + 7])
        if offset + 7 + length > len(data):
            break  # it is being written
        part += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # whole, or the last part
            messages.append(Record.FromString(part))
            part = b""
    return messages


def values(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_an_offline_run_with_its_curve_and_its_metrics(finished, calls):
    messages = records(finished())
    (run,) = (message.run for message in messages if message.HasField("run"))
    assert (run.display_name, run.project, run.run_group) == (STAGE.label, "benchbench", "cell")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["key"], config["spec"]) == (STAGE.key, SPEC.as_json())
    history = [values(message.history.item) for message in messages if message.HasField("history")]
    assert [{name: row[name] for name in epoch} for row, epoch in zip(history, CURVE, strict=True)] == CURVE
    summary = {}
    for message in messages:
        summary |= values(message.summary.update) if message.HasField("summary") else {}
    assert (summary["test_accuracy"], summary["device_hours"]) == (0.625, 1.25)
    assert calls == []


def test_nothing_is_printed_and_no_path_is_stored(finished, capfd):
    file = FileSpec(path="/home/me/secret.pth", content="ab" * 32)
    spec = training_spec(model=SMALL.model_copy(update={"weights": WeightsSpec(file=file)}))
    messages = records(finished(Stage(spec, "0a" * 32, "a label")))
    data = b"".join(message.SerializeToString() for message in messages)
    assert b"abab" in data
    assert b"secret" not in data
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
