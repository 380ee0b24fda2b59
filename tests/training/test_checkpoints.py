"""Checkpoints: a saved state comes back, a damaged file is set aside, and nothing in it is run."""

from __future__ import annotations

import io
import pickle
import random

import pytest
import torch

from benchbench.hardware.energy import StageMeter
from benchbench.store import StageFolder
from benchbench.training import checkpoints as checkpoint
from benchbench.training.checkpoints import Checkpoints
from tests.traps import Trap

STATE = {
    "epoch": 3,
    "sums": {"ce": torch.tensor(1.5, dtype=torch.float64)},
    "model": {"a": torch.arange(6.0), "b": torch.zeros(3, dtype=torch.bfloat16), "n": torch.tensor(4)},
    "optimizer": {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "best_epoch": (1, 0.1 + 0.2, {"a": torch.ones(6)}),
    "curve": [{"epoch": 1, "ce": 0.5}],
    "scaler": {},
    "none": None,
}


@pytest.fixture
def folder(tmp_path) -> StageFolder:
    return StageFolder(tmp_path)


def same(actual, expected) -> bool:
    if isinstance(expected, torch.Tensor):
        return actual.dtype == expected.dtype and torch.equal(actual, expected)
    if isinstance(expected, dict):
        return list(actual) == list(expected) and all(same(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return len(actual) == len(expected) and all(same(*pair) for pair in zip(actual, expected, strict=True))
    return actual == expected and type(actual) is type(expected)


def test_a_saved_state_comes_back(folder):
    Checkpoints(folder, 0).save(STATE)
    assert same(Checkpoints(folder, 0).load(), STATE)
    Checkpoints(folder, 0).save({**STATE, "epoch": 4})
    assert Checkpoints(folder, 0).load()["epoch"] == 4
    assert [file.name for file in folder.path.iterdir()] == ["checkpoint.pt"]


def test_without_a_checkpoint_there_is_no_state(folder):
    assert Checkpoints(folder, 0).load() is None
    assert list(folder.path.iterdir()) == []


def test_a_failed_write_leaves_the_last_one(folder, monkeypatch):
    checkpoints = Checkpoints(folder, 0)
    checkpoints.save(STATE)

    def full(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoints.save({**STATE, "epoch": 4})
    assert same(checkpoints.load(), STATE)


def test_a_checkpoint_is_due_after_its_interval(folder, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(folder, 30)
    assert not checkpoints.due()
    now[0] += 29
    assert not checkpoints.due()
    now[0] += 1
    assert checkpoints.due()
    checkpoints.save(STATE)
    assert not checkpoints.due()
    now[0] += 30
    assert checkpoints.due()


def assert_set_aside(folder, damaged: bytes, capsys) -> None:
    folder.checkpoint.write_bytes(damaged)
    assert Checkpoints(folder, 0).load() is None
    assert not folder.checkpoint.exists()
    assert folder.path.joinpath("checkpoint.damaged").read_bytes() == damaged
    output = capsys.readouterr().out
    assert output.startswith("checkpoint damaged (")
    assert output.endswith("): set aside as checkpoint.damaged, starting from the beginning\n")
    assert output.count("\n") == 1
    assert Checkpoints(folder, 0).load() is None


def test_a_checkpoint_cut_off_anywhere_is_set_aside(folder, capsys):
    Checkpoints(folder, 0).save(STATE)
    whole = folder.checkpoint.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        assert_set_aside(folder, whole[:length], capsys)


def test_a_checkpoint_with_one_wrong_bit_never_gives_another_state(folder, capsys):
    """It gives the saved state (the bit meant nothing) or none at all."""
    Checkpoints(folder, 0).save(STATE)
    whole = folder.checkpoint.read_bytes()
    draw, refused = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        folder.checkpoint.write_bytes(damaged)
        state = Checkpoints(folder, 0).load()
        assert state is None or same(state, STATE)
        refused += state is None
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x02garbage"])
def test_a_file_of_something_else_is_set_aside(folder, capsys, content):
    assert_set_aside(folder, content, capsys)


@pytest.mark.parametrize("kind", ["pickle", "zip", "older"])
def test_code_in_a_checkpoint_is_not_run(folder, capsys, tmp_path_factory, kind):
    trace = tmp_path_factory.mktemp("trap") / "trace"
    buffer = io.BytesIO()
    if kind == "pickle":
        buffer.write(pickle.dumps(Trap(trace), protocol=2))
    else:
        torch.save({**STATE, "trap": Trap(trace)}, buffer, _use_new_zipfile_serialization=kind == "zip")
    assert_set_aside(folder, buffer.getvalue(), capsys)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Trap(trace)))  # noqa: S301 (the trap works)
    assert trace.exists()


def test_another_stage_s_checkpoint_is_set_aside(tmp_path, capsys):
    one, other = StageFolder(tmp_path / "one"), StageFolder(tmp_path / "other")
    for folder in (one, other):
        folder.path.mkdir()
    Checkpoints(one, 0).save(STATE)
    one.checkpoint.replace(other.checkpoint)
    assert Checkpoints(other, 0).load() is None
    assert "it belongs to another stage" in capsys.readouterr().out


def test_a_run_s_energy_goes_on_with_it(tmp_path):
    class Steady:
        now = 0.0

        def joules(self) -> float:
            self.now += 5.0
            return self.now

    folder = StageFolder(tmp_path)
    Checkpoints(folder, 0, StageMeter(Steady())).save({"epoch": 1})  # 5 J since the meter was made
    for counter, expected in ((Steady(), 10.0), (None, None)):
        meter = StageMeter(counter)
        assert Checkpoints(folder, 0, meter).load() == {"epoch": 1}
        assert meter.joules() == expected
