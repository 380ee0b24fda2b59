"""`benchbench start`, as it is typed."""

from __future__ import annotations

import pytest

from tests.proposal.quick import measure_quickly
from tests.proposal.test_folder import fill


def test_bad_input_is_one_line(cli, tmp_path):
    folder = fill(tmp_path / "photos", 5)
    (tmp_path / "photos.yaml").write_text("mine")
    for arguments, problem in (
        ((tmp_path / "absent",), "absent is not a folder"),
        ((folder, "--hours", 0), "--hours"),
        ((folder, "--hours", "inf"), "'inf' is no number of hours"),
        ((folder, "--hours", "nan"), "'nan' is no number of hours"),
        ((folder, "--output", tmp_path / "photos.yaml"), "photos.yaml exists already; give another --output FILE"),
        ((folder, "--output", tmp_path / "?.yaml"), "gives the suite no name; name its file with --output FILE"),
    ):
        done = cli("start", *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert problem in done.err
    assert (tmp_path / "photos.yaml").read_text() == "mine"


@pytest.mark.whole_run
def test_it_ends_with_what_the_suite_will_cost(cli, tmp_path, monkeypatch):
    measure_quickly(monkeypatch)
    folder = fill(tmp_path / "my birds", 10)
    monkeypatch.chdir(tmp_path)
    networks = ("--student", "timm/test_efficientnet", "--teacher", "timm/test_resnet")
    options = ("--hours", 1, "--store", "stored", "--device", "cpu", "--jobs", 1, "--executor", "inline")
    done = cli("start", folder, *networks, *options)
    assert done.code == 0, done.err
    first, *_, cost, written = done.out.splitlines()
    assert first.endswith(": 16 images to train on, 4 to test on (drawn: there is no test part), 2 classes")
    assert cost.startswith("time: about ")
    assert cost.endswith(" for 200 epochs")
    command = "benchbench run my-birds.yaml --store stored --device cpu --jobs 1 --executor inline"
    assert written == f"written: my-birds.yaml; to run it: {command}"
    for arm in ("scratch", "linear probe", "pre-train + fine-tune", "KD, test_resnet (finetune)"):
        assert f"\n{arm} " in done.out
    (folder / "cat" / "0.png").write_bytes(b"no image")
    done = cli("start", folder, *networks, *options, "--output", "again.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "0.png" in done.err
    assert not (tmp_path / "again.yaml").exists()
