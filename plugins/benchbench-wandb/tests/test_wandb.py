"""What Weights & Biases finds after a stage has finished, read back by its file format."""

import json
import socket
import struct
import threading
from pathlib import Path

import pytest

from benchbench.plan.model import Stage
from benchbench.plugins import load_plugins
from benchbench.run.lifecycle import LifecycleHooks
from benchbench.testing import checks_of

pytest.importorskip("wandb", reason="wandb is not installed")
ENVIRONMENT = ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR")
BLOCK = 32768
FILE = Path(__file__).parent.parent / "benchbench_wandb.py"
JOB = {"method": "scratch", "seed": 3, "recipe": {"epochs": 2, "lr": 0.001}}
STAGE = Stage("cell", "0a" * 32, "A/U, big (finetune) | ../cifar | small | seed 3", JOB)
RECORD = {
    "metrics": {"test_accuracy": 0.625, "test_correct": "ff", "validation_accuracy": None},
    "cost": {"device_hours": 1.25},
}
CURVE = [
    {"epoch": 0, "loss": 9.0},  # the first stage of a two-stage method
    {"epoch": 1, "loss": 2.0, "align_uniform.uniform": -1.5},
    {"epoch": 2, "loss": 1.0, "align_uniform.uniform": -2.5},
]


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Tells the plugin of a finished stage, as a run does; gives the folder that it works in."""
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
    """Whoever connects to the outside: every address leads here."""
    heard = []
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
                    heard.append(connection.recv(100))

        threading.Thread(target=listen, daemon=True).start()
        yield heard


def records(folder):
    """What an offline run holds: its file is a log in LevelDB's format, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, place, part, found = path.read_bytes(), 7, b"", []  # after the file's own header
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(part))
            part = b""
    return found


def values(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_an_offline_run_with_its_curve_and_its_figures(finished, calls):
    found = records(finished())
    (run,) = (record.run for record in found if record.HasField("run"))
    assert (run.display_name, run.project, run.run_group) == (STAGE.label, "benchbench", "cell")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["key"], config["job"]) == (STAGE.key, JOB)
    history = [values(record.history.item) for record in found if record.HasField("history")]
    assert [{name: row[name] for name in kept} for row, kept in zip(history, CURVE, strict=True)] == CURVE
    summary = {}
    for record in found:
        summary |= values(record.summary.update) if record.HasField("summary") else {}
    assert (summary["test_accuracy"], summary["device_hours"]) == (0.625, 1.25)
    assert calls == []


def test_nothing_is_printed_and_a_place_is_not_told(finished, capfd):
    weights = {"file": {"$path": "/home/me/secret.pth", "$content": "ab" * 32}}
    job = {**JOB, "model": {"weights": weights}}
    found = records(finished(Stage("cell", "0a" * 32, "a label", job)))
    assert b"secret" not in b"".join(record.SerializeToString() for record in found)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
