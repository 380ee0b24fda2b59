"""Failures of parts: reported, with their reason, while the rest goes on."""

from __future__ import annotations

import csv
import json
import os

import pytest

from benchbench.execution import tune
from benchbench.executors.fork_server import LIBRARIES
from tests.running.commands import ledger_of, run

pytestmark = pytest.mark.whole_run

BROKEN_LOSSES = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    yield Component("raises", f"{__name__}:raises")
    yield Component("nan", f"{__name__}:nan")

def raises(student, teacher, batch):
    raise ZeroDivisionError("no such thing\\n[bold]as this")

def nan(student, teacher, batch):
    return student.logits.sum() * float("nan")
"""


def test_failed_cells_are_reported_and_the_others_go_on(suite, tmp_path, store_copy):
    (tmp_path / "broken.py").write_text(BROKEN_LOSSES)
    losses = {"r": {"ce": 1, "raises": 1}, "n": {"ce": 1, "nan": 1}, "ok": {"ce": 1}}
    broken = json.dumps({arm: {"method": "scratch", "loss": loss} for arm, loss in losses.items()})
    arguments = [suite, "--plugin", "broken.py", "--set", "seeds=[0]", "--set", f"arms={broken}", "--jobs", 2]
    # One step per epoch: the next would spread the NaN to all terms.
    arguments += ["--set", "recipes.default.batch_size=60"]
    done = run(*arguments, "--store", store_copy, cwd=tmp_path, code=1, workers=True, pinned=False)
    assert "failed: r | few | small | seed 0: ZeroDivisionError: no such thing [bold]as this" in done.out
    assert "loss is nan in epoch 1 (terms: nan)" in done.out
    rows = {row["arm"]: row for row in csv.DictReader((tmp_path / "reports/tiny/results.csv").open())}
    assert {arm: row["status"] for arm, row in rows.items()} == {"r": "failed", "n": "failed", "ok": "done"}
    assert ledger_of(store_copy).failed > 0
    logs = [path.read_text() for path in store_copy.glob("cell/*/log.txt")]
    assert any("ZeroDivisionError" in text and "Traceback" in text for text in logs)


def test_a_failed_teacher_fails_the_cells_that_need_it(suite, tmp_path, store_copy, monkeypatch):
    monkeypatch.setattr(tune, "ROUND_SECONDS", 0.01)
    arms = "{taught: {method: distill, adapt: scratch, loss: {ce: 1, kd: 1}}, scratch: {method: scratch}}"
    recipe = "{scratch: {precision: fp16}}"
    arguments = [suite, "--set", "seeds=[0]", "--set", f"arms={arms}", "--set", f"teachers.big.adapt={recipe}"]
    done = run(*arguments, "--store", store_copy, "--device", "cpu", cwd=tmp_path, code=1)
    assert "needs 'teacher big (scratch) | few', which failed" in done.err
    assert "precision fp16 needs a GPU" in done.out


def test_damaged_teacher_weights_fail_the_cells_that_read_them(suite, tmp_path, store_copy):
    file = next(store_copy.glob("teacher/*/weights.safetensors"))
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    done = run(suite, "--store", store_copy, "--set", "seeds=[7]", cwd=tmp_path, code=1)
    assert "weights.safetensors is missing or damaged; delete" in done.out


@pytest.mark.parametrize("jobs", [1, 2], ids=["spawned", "forked"])
def test_a_worker_that_cannot_start_is_a_failed_cell(suite, tmp_path, store_copy, jobs, monkeypatch):
    for library in LIBRARIES:  # which a server of workers would import for seconds, and these workers never do
        (tmp_path / "absent" / library).mkdir(parents=True)
        (tmp_path / "absent" / library / "__init__.py").write_text("raise ImportError")
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "absent"), *filter(None, path)]))
    (tmp_path / "deadly.py").write_text("""
import os, sys

if {"benchbench.executors.worker", "benchbench.executors.fork_server"} & set(sys.orig_argv):
    os._exit(7)
""")
    changes = ["--set", "seeds=[5]", "--set", "arms={scratch: {method: scratch}}", "--device", "cpu", "--jobs", jobs]
    arguments = [suite, "--store", store_copy, "--plugin", "deadly.py", *changes]
    done = run(*arguments, cwd=tmp_path, code=1, workers=True, spawned=True, pinned=False)
    assert "its worker process ended with exit code 7 (see " in done.out


EDITS_ITS_NEIGHBOUR = """
from pathlib import Path
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    yield Component("edits", f"{__name__}:edits")
    yield Component("edited", "neighbour:edited")

def edits(student, teacher, batch):
    text = "def edited(student, teacher, batch):\\n    return student.logits.square().mean()\\n"
    Path(__file__).with_name("neighbour.py").write_text(text)
    return student.logits.mean()
"""


def test_a_component_that_is_edited_during_a_run_keeps_no_result_under_its_old_key(suite, tmp_path, store_copy):
    (tmp_path / "editing.py").write_text(EDITS_ITS_NEIGHBOUR)
    (tmp_path / "neighbour.py").write_text("def edited(student, teacher, batch):\n    return student.logits.mean()\n")
    arms = {name: {"method": "scratch", "loss": {"ce": 1, name: 1}} for name in ("edits", "edited")}
    changes = ["--set", "seeds=[0]", "--set", f"arms={json.dumps(arms)}", "--cohort", 1, "--jobs", 1]
    arguments = [suite, "--plugin", "editing.py", *changes, "--store", store_copy]
    done = run(*arguments, cwd=tmp_path, code=1, workers=True)
    assert "loss 'edited' of " in done.out
    assert "is not the code that was planned" in done.out
    statuses = {row["arm"]: row["status"] for row in csv.DictReader((tmp_path / "reports/tiny/results.csv").open())}
    assert statuses == {"edits": "done", "edited": "failed"}
    run(*arguments, cwd=tmp_path, workers=True)
