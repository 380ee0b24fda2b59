"""Cells that share a teacher run side by side and end as alone, even if others fail."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.running.commands import kill, results, run, stage_records, start_inline, wait_for, write_suite

pytestmark = pytest.mark.whole_run

COHORT = """
name: cohort
seeds: [0, 1]
data_seed: 4
data:
  few: {{source: {{imagefolder: {{path: {images}}}}}}}
students:
  small: {{model: timm/test_efficientnet}}
teachers:
  big: {{model: timm/test_resnet, weights: {{file: {teacher}}}, adapt: [linear_probe]}}
recipes:
  default: {{epochs: {epochs}, batch_size: 16, image_size: 16, precision: exact,
    augment: {{flip: {{}}, random_crop: {{padding: 2}}}}}}
arms:
  kd: {{method: distill, loss: {{ce: 1, kd: 1}}}}
  au: {{method: distill, loss: {{ce: 1, align_uniform: 1}}}}
  scratch: {{method: scratch}}
"""


def cohorts(store: Path) -> dict[str, int]:
    """Sizes of cohorts, by cell."""
    return {record.label: record.cost.cohort for record in stage_records(store, "cell")}


@pytest.fixture(scope="session")
def side_by_side(made_once, files) -> Path:
    """A folder where a suite of two cohorts ran to its end: four cells behind one teacher, and two without."""

    def fill(folder: Path) -> None:
        run(write_suite(folder / "cohort.yaml", files, epochs=2, text=COHORT), cwd=folder)

    return made_once("cohort", fill)


@pytest.fixture
def suite(tmp_path, files) -> Path:
    return write_suite(tmp_path / "cohort.yaml", files, epochs=2, text=COHORT)


def test_cells_of_a_cohort_run_side_by_side_and_end_as_alone(side_by_side, suite, tmp_path):
    sizes = cohorts(side_by_side / "runs")
    assert sorted(sizes.values()) == [2, 2, 4, 4, 4, 4]
    assert {count for label, count in sizes.items() if label.startswith("scratch")} == {2}
    run(suite, "--cohort", 1, "--set", "seeds=[0]", cwd=tmp_path)
    assert set(cohorts(tmp_path / "runs").values()) == {1}
    assert results(side_by_side / "runs", seed=0) == results(tmp_path / "runs")
    for record in stage_records(side_by_side / "runs", "cell"):
        assert record.cost.device_hours < record.cost.alone_device_hours
    with (side_by_side / "reports" / "cohort" / "results.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done"] * 6


def test_a_cohort_that_is_killed_ends_with_the_same_numbers(side_by_side, suite, tmp_path):
    store = tmp_path / "runs"
    process = start_inline(suite, "--checkpoint-seconds", 1e-6, cwd=tmp_path)
    wait_for(lambda: len(list(store.glob("cell/*/checkpoint.pt"))) >= 3, process)
    kill(process)
    assert len(results(store)) < 7
    run(suite, cwd=tmp_path)
    assert results(store) == results(side_by_side / "runs")


# Both read the teacher, so that they are of the other arms' cohort; neither adds anything to the sum.
TROUBLE = """
import gc
import os
import signal
from pathlib import Path

import torch
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    for name in ("deadly", "large", "asserts", "always_asserts"):
        yield Component(name, f"{__name__}:{name}", needs=frozenset({"teacher"}))

def deadly(student, teacher, batch):
    os.kill(os.getpid(), signal.SIGKILL)

def first(name):
    tried = Path(__file__).with_name(name)
    if tried.exists():
        return False
    tried.touch()
    return True

class Activations(torch.Tensor):
    pass

def large(student, teacher, batch):
    if not first("measured") and first("tried"):  # its gradients are measured before the first step
        activations = torch.zeros(8).as_subclass(Activations)
        raise torch.OutOfMemoryError("out of memory")
    if first("tried_again"):
        assert not any(type(each) is Activations for each in gc.get_objects())
    return 0 * student.logits.sum()

def asserts(student, teacher, batch):
    if first("asserted"):
        raise RuntimeError("CUDA error: device-side assert triggered")
    return 0 * student.logits.sum()

def always_asserts(student, teacher, batch):
    raise RuntimeError("CUDA error: device-side assert triggered")
"""


def in_trouble(folder: Path, side_by_side: Path, suite: Path, name: str, workers: bool) -> tuple[Path, str]:
    """Runs one more arm beside another, with a seed of their own, in a copy of the finished store."""
    (folder / "trouble.py").write_text(TROUBLE)
    store = shutil.copytree(side_by_side / "runs", folder / "runs")
    arms = {each: {"method": "distill", "loss": {"ce": 1, each: 1}} for each in ("kd", name)}
    arguments = ["--plugin", "trouble.py", "--set", f"arms={json.dumps(arms)}", "--set", "seeds=[7]"]
    return store, run(suite, *arguments, cwd=folder, code=int(workers), workers=workers).err


def test_a_loss_that_kills_its_worker_fails_alone(side_by_side, suite, tmp_path):
    store, err = in_trouble(tmp_path, side_by_side, suite, "deadly", workers=True)
    rows = {row["arm"]: row for row in csv.DictReader((tmp_path / "reports/cohort/results.csv").open())}
    assert {arm: row["status"] for arm, row in rows.items()} == {"kd": "done", "deadly": "failed"}
    assert "killed by SIGKILL" in rows["deadly"]["reason"]
    assert err.count("killed by SIGKILL") == 1
    assert {count for label, count in cohorts(store).items() if "seed 7" in label} == {1}


def test_a_cell_that_does_not_fit_into_memory_beside_others_is_tried_again_alone(side_by_side, suite, tmp_path):
    store, _ = in_trouble(tmp_path, side_by_side, suite, "large", workers=False)
    assert (tmp_path / "tried_again").exists()  # without the activations of the first try
    sizes = {label.split(",")[0]: count for label, count in cohorts(store).items() if "seed 7" in label}
    assert sizes == {"large": 1, "kd": 2}
    (large,) = (result for label, result in results(store).items() if label.startswith("large"))
    assert [row["large"] for row in large["curve"]] == [0, 0]


@pytest.mark.parametrize("name", ["asserts", "always_asserts"])
def test_a_cell_that_breaks_the_device_is_tried_again_alone_by_another_worker(side_by_side, suite, tmp_path, name):
    (tmp_path / "trouble.py").write_text(TROUBLE)
    store = shutil.copytree(side_by_side / "runs", tmp_path / "runs")
    arms = {each: {"method": "distill", "loss": {"ce": 1, each: 1}} for each in ("kd", name)}
    arguments = ["--plugin", "trouble.py", "--set", f"arms={json.dumps(arms)}", "--set", "seeds=[7]"]
    fails = name == "always_asserts"
    err = run(suite, *arguments, cwd=tmp_path, code=int(fails), workers=True).err
    rows = {row["arm"]: row for row in csv.DictReader((tmp_path / "reports/cohort/results.csv").open())}
    assert {arm: row["status"] for arm, row in rows.items()} == {"kd": "done", name: "failed" if fails else "done"}
    assert err.count("CUDA error: device-side assert triggered (traceback in ") == int(fails)
    (log,) = (path for path in store.glob("cell/*/log.txt") if "attempt 2" in path.read_text())
    assert log.read_text().count("RuntimeError: CUDA error: device-side assert") == 1 + int(fails)
    assert {count for label, count in cohorts(store).items() if "seed 7" in label} <= {1, 2}
