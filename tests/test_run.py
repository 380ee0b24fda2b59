"""`benchbench run` as a user types it: to the end, again, killed, interrupted, and with parts that fail."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from benchbench.costs.ledger import Spent, spent
from benchbench.store import Store

SUITE = """
name: tiny
seeds: [0, 1]
data:
  few: {{source: cifar10_subset, per_class: 6}}
students:
  small: {{model: timm/test_efficientnet, weights: {{file: {weights}}}}}
teachers:
  big:
    model: timm/test_resnet
    weights: {{file: {teacher}}}
    adapt: [pretrained, linear_probe]
recipes:
  default: {{epochs: {epochs}, batch_size: 16, image_size: 32, precision: exact,
    augment: {{flip: {{}}, random_crop: {{padding: 4}}}}}}
arms:
  scratch: {{method: scratch}}
  tuned: {{method: finetune}}
  taught: {{method: distill, adapt: linear_probe, loss: {{ce: 1, align_uniform: 1, kd: 1}}}}
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Weights of both networks in files, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in ("test_efficientnet", "test_resnet"):
        torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    return {"weights": folder / "test_efficientnet.pth", "teacher": folder / "test_resnet.pth"}


@pytest.fixture
def suite(tmp_path, weights) -> Path:
    return write_suite(tmp_path / "tiny.yaml", weights)


def write_suite(path: Path, weights: dict[str, Path], epochs: int = 2, text: str = SUITE) -> Path:
    path.write_text(text.format(epochs=epochs, **weights))
    return path


def command(*arguments: object) -> list[str]:
    """One worker where a test does not ask for more: each takes seconds to start."""
    if arguments[0] == "run" and "--jobs" not in arguments:
        arguments = (*arguments, "--jobs", 1)
    return [sys.executable, "-m", "benchbench", *(str(argument) for argument in arguments)]


def run(*arguments: object, cwd: Path, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command("run", *arguments), cwd=cwd, capture_output=True, text=True, timeout=240, **options)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def records(store: Path) -> dict[str, dict]:
    """Every finished training stage by label, without what may differ between two runs: cost and environment."""
    found = {}
    for path in [*store.glob("cell/*/record.json"), *store.glob("teacher/*/record.json")]:
        record = json.loads(path.read_text())
        kept = {name: record[name] for name in ("key", "metrics", "data", "model", "teachers", "weights_sha256")}
        found[record["label"]] = {**kept, "curve": path.with_name("curve.jsonl").read_text()}
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory, weights) -> Path:
    """A folder where the suite ran to its end without interruption."""
    folder = tmp_path_factory.mktemp("finished")
    run(write_suite(folder / "tiny.yaml", weights), cwd=folder)
    return folder


@pytest.fixture
def used(finished, tmp_path) -> Path:
    """A copy of the finished store, for tests that add to it or damage it."""
    return shutil.copytree(finished / "runs", tmp_path / "used")


def accounted(store: Path, slack: float = 0.1) -> Spent:
    """The account of all runs of the suite, after a look at whether its lines add up to what was measured.

    Within 1 %, and `slack` seconds for each run and stage: so long may a message take between two processes of a busy
    machine, and these runs are short.
    """
    text = "".join(path.read_text() for path in (store / "ledger").iterdir())
    found = spent(Store(store), "tiny", {json.loads(line).get("key") for line in text.splitlines()})
    held = found.total / sum(json.loads(line)["at"] for line in _last_lines(store))
    assert abs(found.residual) <= 0.01 * found.total + slack * held * text.count('"finished"')
    return found


def _last_lines(store: Path) -> list[str]:
    return [path.read_text().splitlines()[-1] for path in (store / "ledger").iterdir()]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_leaves_tables_and_stages(finished):
    report = finished / "reports" / "tiny"
    tables = "accuracy", "gpu_hours", "foundations", "resources", "ledger", "verdicts", "savings"
    pictures = "pareto", "curves", "costs"
    expected = {f"{name}.{kind}" for name in tables for kind in ("md", "tex", "csv")}
    expected |= {f"{name}.{kind}" for name in pictures for kind in ("pdf", "png")}
    expected |= {"tables.tex", "macros.tex", "figures.tex", "figures.md"}
    written = {path.name for path in report.iterdir() if path.stem != "diagnosis"}  # of chance, at this size
    assert written == expected | {"results.csv", "COMMAND"}
    with (report / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {row["status"] for row in rows} == {"done"}
    assert all(0 <= float(row["accuracy"]) <= 1 and float(row["own_hours"]) > 0 for row in rows)
    taught = [row for row in rows if row["arm"] == "taught"]
    assert {row["teacher_accuracy"] for row in taught} == {taught[0]["teacher_accuracy"]} != {""}
    assert float(taught[0]["shared_stage_hours"]) == pytest.approx(float(taught[0]["stage_hours"]) / 2)
    accuracy = (report / "accuracy.md").read_text()
    assert "taught, big (linear\\_probe)" in accuracy
    assert accuracy.count("(n=2)") == 3
    assert "\\toprule" in (report / "gpu_hours.tex").read_text()


def test_verdicts_are_on_the_images_that_were_tested(finished, used, tmp_path):
    """One run each: images won less images lost is the difference in accuracy times the images."""
    suite = finished / "tiny.yaml"
    run(suite, "--set", "seeds=[0]", "--store", used, "--report", tmp_path / "one", cwd=tmp_path)
    with (tmp_path / "one" / "verdicts.csv").open() as file:
        (row,) = csv.DictReader(file)
    won, lost = map(int, row["images won : lost"].split(" : "))
    assert row["verdict"] == "n too small to test"
    assert won - lost == round(float(row["difference"]) / 100 * 1000)
    assert won + lost > 0


def test_every_second_of_a_run_is_on_a_line(finished):
    account = accounted(finished / "runs", slack=0)
    assert account.runs == 1
    assert account.failed == account.killed == 0
    costs = [json.loads(path.read_text())["cost"] for path in (finished / "runs").glob("*/*/record.json")]
    assert all(cost["peak_bytes"] is None or cost["peak_bytes"] > 10**8 for cost in costs)
    assert min(account.start, account.sections["cell", "student"], account.sections["outputs", "teacher"]) > 0
    table = (finished / "reports/tiny/ledger.md").read_text()
    assert "training steps" in table
    assert "of one run of tiny" in table


def test_a_teacher_is_trained_once_for_all_cells(finished):
    assert len(list((finished / "runs" / "teacher").iterdir())) == 1
    assert len(list((finished / "runs" / "cell").iterdir())) == 6


def test_a_finished_suite_runs_nothing_again(finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "runs").glob("*/*/*")}
    again = run("tiny.yaml", cwd=finished)
    assert "8 stages, 8 done" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (finished / "runs").glob("*/*/*")} == before
    planned = subprocess.run(command("plan", "tiny.yaml", "--json"), cwd=finished, capture_output=True, text=True)
    assert {stage["state"] for stage in json.loads(planned.stdout)["stages"]} == {"done"}


def test_a_changed_recipe_runs_what_it_touches_again(used, tmp_path, weights):
    changed = write_suite(tmp_path / "tiny.yaml", weights)
    again = run(
        changed,
        "--store",
        used,
        "--set",
        "arms.scratch.recipe={lr: 5e-4}",
        "--set",
        "seeds=[0]",
        cwd=tmp_path,
    )
    assert "5 stages, 4 done" in again.stderr
    assert again.stderr.count("done    scratch") == 1


def far_enough(store: Path, stages: int) -> bool:
    return any(store.glob("*/*/checkpoint.pt")) and len(records(store)) >= stages


def test_killed_and_started_again_it_ends_with_the_same_numbers(finished, suite, tmp_path):
    """SIGKILL to the whole run, several times, at whatever point it has reached; workers must not outlive it."""
    store = tmp_path / "runs"
    arguments = command("run", suite, "--checkpoint-seconds", 0)
    for kills in range(3):
        process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        enough = len(records(store)) + kills
        wait_for(partial(far_enough, store, enough), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(suite, "--checkpoint-seconds", 0, cwd=tmp_path)
    assert records(store) == records(finished / "runs")
    account = accounted(store)
    assert account.runs == 4


def test_a_killed_worker_costs_its_stage_alone(finished, suite, tmp_path):
    store = tmp_path / "runs"
    arguments = command("run", suite, "--checkpoint-seconds", 0, "--cohort", 1)
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(store.glob("cell/*/checkpoint.pt")), process)
    state = next(path.with_name("state.json") for path in store.glob("cell/*/checkpoint.pt"))
    os.kill(json.loads(state.read_text())["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "killed by SIGKILL" in err
    assert "missing" in out
    assert len(records(store)) == 6
    run(suite, cwd=tmp_path)
    assert records(store) == records(finished / "runs")
    account = accounted(store)
    assert account.runs == 2
    assert account.killed > 0


def test_interrupted_from_the_keyboard(suite, tmp_path):
    process = subprocess.Popen(
        command("run", suite), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list((tmp_path / "runs").glob("teacher/*/state.json")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err


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


def test_failed_cells_are_reported_and_the_others_go_on(suite, tmp_path, used):
    (tmp_path / "broken.py").write_text(BROKEN_LOSSES)
    losses = {"r": {"ce": 1, "raises": 1}, "n": {"ce": 1, "nan": 1}, "ok": {"ce": 1}}
    broken = json.dumps({arm: {"method": "scratch", "loss": loss} for arm, loss in losses.items()})
    arguments = [suite, "--plugin", "broken.py", "--set", "seeds=[0]", "--set", f"arms={broken}", "--jobs", 2]
    arguments += [
        "--set",
        "recipes.default.batch_size=60",
    ]  # one step an epoch: the next would spread the NaN to all terms
    done = run(*arguments, "--store", used, cwd=tmp_path, code=1)
    assert "failed: r | few | small | seed 0: ZeroDivisionError: no such thing [bold]as this" in done.stdout
    assert "loss is nan in epoch 1 (terms: nan)" in done.stdout
    rows = {row["arm"]: row for row in csv.DictReader((tmp_path / "reports/tiny/results.csv").open())}
    assert {arm: row["status"] for arm, row in rows.items()} == {"r": "failed", "n": "failed", "ok": "done"}
    assert accounted(used).failed > 0
    logs = [path.read_text() for path in (used).glob("cell/*/log.txt")]
    assert any("ZeroDivisionError" in text and "Traceback" in text for text in logs)


def test_a_failed_teacher_fails_the_cells_that_need_it(tmp_path, weights, used):
    suite = write_suite(tmp_path / "tiny.yaml", weights)
    arms = "{taught: {method: distill, adapt: linear_probe, loss: {ce: 1, kd: 1}}, scratch: {method: scratch}}"
    recipe = "{linear_probe: {precision: fp16}}"
    arguments = [suite, "--set", "seeds=[0]", "--set", f"arms={arms}", "--set", f"teachers.big.adapt={recipe}"]
    done = run(*arguments, "--store", used, "--device", "cpu", cwd=tmp_path, code=1)
    assert "needs 'teacher big (linear_probe) | few', which failed" in done.stderr
    assert "precision fp16 needs a GPU" in done.stdout


def test_a_damaged_checkpoint_costs_only_time(finished, suite, tmp_path):
    store = tmp_path / "runs"
    arguments = command("run", suite, "--checkpoint-seconds", 0)
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(store.glob("cell/*/checkpoint.pt")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    for checkpoint in store.glob("*/*/checkpoint.pt"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    run(suite, cwd=tmp_path)
    assert records(store) == records(finished / "runs")


def test_damaged_teacher_weights_are_found_out(suite, tmp_path, used):
    file = next(used.glob("teacher/*/weights.safetensors"))
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    done = run(suite, "--store", used, "--set", "seeds=[7]", cwd=tmp_path, code=1)
    assert "weights.safetensors is missing or damaged; delete" in done.stdout


def test_a_plugin_loss_in_a_suite(tmp_path, weights, used):
    plugin = Path(__file__).parent.parent / "plugins" / "benchbench-relation" / "benchbench_relation.py"
    text = SUITE + "  related: {{method: distill, adapt: pretrained, loss: {{ce: 1, relation: {{weight: 0.5}}}}}}\n"
    suite = write_suite(tmp_path / "tiny.yaml", weights, text=f"plugins: [{plugin}]\n{text}")
    done = run(suite, "--set", "seeds=[0]", "--store", used, cwd=tmp_path)
    assert "related, big (pretrained)" in done.stdout
    label = "related, big (pretrained) | few | small | seed 0"
    curve = [json.loads(line) for line in records(used)[label]["curve"].splitlines()]
    assert all(row["loss"] == pytest.approx(row["ce"] + 0.5 * row["relation"], rel=1e-5) for row in curve)


def test_two_runs_at_once_do_not_share_a_store(tmp_path, weights):
    suite = write_suite(tmp_path / "tiny.yaml", weights, epochs=2000)
    first = subprocess.Popen(command("run", suite), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: list((tmp_path / "runs").glob("teacher/*/state.json")), first)
        second = subprocess.run(command("run", suite), cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert second.returncode == 2
        assert "another benchbench run is using store" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_a_trained_student_can_be_used_elsewhere(finished):
    from benchbench.data.sources.bundled import load
    from benchbench.models.trained import load_trained

    record = next((finished / "runs").glob("cell/*/record.json"))
    model, classes = load_trained(record.parent)
    test = load(None, Path(), "test")
    assert classes == test.classes
    images = torch.from_numpy(test.array).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        right = (model(images).logits.argmax(1) == torch.from_numpy(test.labels)).double().mean().item()
    assert right == pytest.approx(json.loads(record.read_text())["metrics"]["test_accuracy"], abs=0.002)


def test_a_trained_student_leaves_for_its_library(finished, tmp_path, cli):
    """timm alone finds as many test images right as the record says."""
    from benchbench.data.sources.bundled import load

    record = json.loads(next((finished / "runs").glob("cell/*/record.json")).read_text())
    done = cli("export", record["key"][:12], "--store", finished / "runs", "--out", tmp_path / "mine")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first == f"written to {tmp_path / 'mine'}: README.md, config.json, model.safetensors"
    assert second.startswith("checked: loaded by timm it gives the same logits (largest difference ")
    model = timm.create_model(f"local-dir:{tmp_path / 'mine'}", pretrained=True).eval()
    config, test = model.pretrained_cfg, load(None, Path(), "test")
    assert config["label_names"] == list(test.classes)
    images = torch.from_numpy(test.array).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        right = (model((images - mean) / std).argmax(1) == torch.from_numpy(test.labels)).double().mean().item()
    assert right == pytest.approx(record["metrics"]["test_accuracy"], abs=0.002)


def test_images_of_many_sizes_stream_through_loader_processes(tmp_path):
    """With two threads a worker has loader processes of its own, which must not wait for what the worker waits for."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(30, 60, 2)
                pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "suite.yaml").write_text("""
name: streamed
seeds: [0]
data: {mine: {source: {imagefolder: {path: images}}}}
students: {small: {model: timm/test_efficientnet}}
recipes: {default: {epochs: 2, batch_size: 4, image_size: 32, augment: {random_resized_crop: {}, flip: {}}}}
arms: {scratch: {method: scratch}}
""")
    run("suite.yaml", "--jobs", 1, cwd=tmp_path)
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("runs/cell/*/record.json"))
    assert record["metrics"]["test_count"] == 6
    assert record["data"]["names"] == ["cat", "dog"]

    changed = tmp_path / "images" / "train" / "cat" / "0.png"
    (tmp_path / "images" / "train" / "dog" / "0.png").replace(changed)
    assert "2 stages, 0 done" not in run("suite.yaml", "--jobs", 1, cwd=tmp_path).stderr
    assert len(list(tmp_path.glob("runs/cell/*/record.json"))) == 2  # other images are another stage


def test_a_worker_that_cannot_start_is_a_failed_cell(suite, tmp_path, used):
    (tmp_path / "deadly.py").write_text("""
import os, sys

if "benchbench.worker" in sys.orig_argv:
    os._exit(7)
""")
    changes = ["--set", "seeds=[5]", "--set", "arms={scratch: {method: scratch}}"]
    done = run(suite, "--store", used, "--plugin", "deadly.py", *changes, cwd=tmp_path, code=1)
    assert "its worker process ended with exit code 7 (see " in done.stdout


COHORT = """
name: cohort
seeds: [0, 1]
data_seed: 4
data:
  few: {{source: cifar10_subset, per_class: 6}}
students:
  small: {{model: timm/test_efficientnet}}
teachers:
  big: {{model: timm/test_resnet, weights: {{file: {teacher}}}, adapt: [linear_probe]}}
recipes:
  default: {{epochs: {epochs}, batch_size: 16, image_size: 32, precision: exact,
    augment: {{flip: {{}}, random_crop: {{padding: 4}}}}}}
arms:
  kd: {{method: distill, loss: {{ce: 1, kd: 1}}}}
  au: {{method: distill, loss: {{ce: 1, align_uniform: 1}}}}
  scratch: {{method: scratch}}
"""


def one_core() -> None:
    """One worker of one thread, whatever the machine has, so that who is beside whom does not depend on it."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


run_on_one_core = partial(run, preexec_fn=one_core)


def cohorts(store: Path) -> dict[str, int]:
    """How many ran side by side, by cell."""
    found = [json.loads(path.read_text()) for path in store.glob("cell/*/record.json")]
    return {record["label"]: record["cost"]["cohort"] for record in found}


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory, weights) -> Path:
    """A folder where a suite of two groups ran to its end: four cells behind one teacher, and two without."""
    folder = tmp_path_factory.mktemp("cohort")
    run_on_one_core(write_suite(folder / "cohort.yaml", weights, epochs=2, text=COHORT), cwd=folder)
    return folder


@pytest.fixture
def group(tmp_path, weights) -> Path:
    return write_suite(tmp_path / "cohort.yaml", weights, epochs=2, text=COHORT)


def test_cells_of_a_group_run_side_by_side_and_end_as_alone(side_by_side, group, tmp_path):
    found = cohorts(side_by_side / "runs")
    assert sorted(found.values()) == [2, 2, 4, 4, 4, 4]
    assert {count for label, count in found.items() if label.startswith("scratch")} == {2}
    run_on_one_core(group, "--cohort", 1, cwd=tmp_path)
    assert set(cohorts(tmp_path / "runs").values()) == {1}
    assert records(side_by_side / "runs") == records(tmp_path / "runs")
    for path in (side_by_side / "runs").glob("cell/*/record.json"):
        cost = json.loads(path.read_text())["cost"]
        assert cost["device_hours"] < cost["alone_device_hours"]
    with (side_by_side / "reports" / "cohort" / "results.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done"] * 6


def test_a_cohort_that_is_killed_ends_with_the_same_numbers(side_by_side, group, tmp_path):
    store = tmp_path / "runs"
    arguments = command("run", group, "--checkpoint-seconds", 0)
    process = subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=one_core
    )
    wait_for(lambda: len(list(store.glob("cell/*/checkpoint.pt"))) >= 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(records(store)) < 7
    run_on_one_core(group, cwd=tmp_path)
    assert records(store) == records(side_by_side / "runs")


# Both read the teacher, so that they are of the other arms' group; neither adds anything to the sum.
TROUBLE = """
import os
import signal
from pathlib import Path

import torch
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    for name in ("deadly", "large"):
        yield Component(name, f"{__name__}:{name}", needs=frozenset({"teacher"}))

def deadly(student, teacher, batch):
    os.kill(os.getpid(), signal.SIGKILL)

def large(student, teacher, batch):
    tried = Path(__file__).with_name("tried")
    if not tried.exists():
        tried.touch()
        raise torch.OutOfMemoryError("out of memory")
    return 0 * student.logits.sum()
"""


def in_trouble(folder: Path, side_by_side: Path, group: Path, name: str, code: int) -> tuple[Path, str]:
    """One more arm beside another, with a seed of their own, on top of what has been run."""
    (folder / "trouble.py").write_text(TROUBLE)
    store = shutil.copytree(side_by_side / "runs", folder / "runs")
    arms = {each: {"method": "distill", "loss": {"ce": 1, each: 1}} for each in ("kd", name)}
    arguments = ["--plugin", "trouble.py", "--set", f"arms={json.dumps(arms)}", "--set", "seeds=[7]"]
    return store, run_on_one_core(group, *arguments, cwd=folder, code=code).stderr


def test_a_loss_that_kills_its_worker_fails_alone(side_by_side, group, tmp_path):
    store, err = in_trouble(tmp_path, side_by_side, group, "deadly", 1)
    rows = {row["arm"]: row for row in csv.DictReader((tmp_path / "reports/cohort/results.csv").open())}
    assert {arm: row["status"] for arm, row in rows.items()} == {"kd": "done", "deadly": "failed"}
    assert "killed by SIGKILL" in rows["deadly"]["reason"]
    assert err.count("killed by SIGKILL") == 1
    assert {count for label, count in cohorts(store).items() if "seed 7" in label} == {1}


def test_what_does_not_fit_into_memory_beside_others_is_tried_again_alone(side_by_side, group, tmp_path):
    store, _ = in_trouble(tmp_path, side_by_side, group, "large", 0)
    assert (tmp_path / "tried").exists()
    found = {label.split(",")[0]: count for label, count in cohorts(store).items() if "seed 7" in label}
    assert found == {"large": 1, "kd": 2}
    (large,) = (record for label, record in records(store).items() if label.startswith("large"))
    assert all(json.loads(line)["large"] == 0 for line in large["curve"].splitlines())


def test_hours_are_predicted_from_steps_that_plan_measures(suite, tmp_path):
    def plan(*options: str) -> dict[str, Any]:
        arguments = command("plan", suite, "--set", "recipes.default.precision=fp32", "--jobs", 1, "--json", *options)
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    measuring = {"tuning", "calibration"}
    assert not any(stage["predicted_hours"] for stage in plan()["stages"])
    found = {stage["label"]: stage for stage in plan("--calibrate")["stages"]}
    assert {stage["kind"] for stage in found.values() if stage["state"] == "done"} <= measuring
    known = {stage["kind"] for stage in found.values() if stage["predicted_hours"] is not None}
    assert known == {"cell", "teacher", "outputs"}
