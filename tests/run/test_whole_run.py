"""`benchbench run` to its end: tables, sharing, what is run again, and what leaves the store."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from tests.run.typed import SUITE, accounted, finish, kill, records, run, start, wait_for, write_suite


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
    planned = finish("plan", "tiny.yaml", "--jobs", 1, "--json", cwd=finished)
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


def test_a_plugin_loss_in_a_suite(tmp_path, weights, used):
    plugin = Path(__file__).parents[2] / "plugins" / "benchbench-relation" / "benchbench_relation.py"
    text = SUITE + "  related: {{method: distill, adapt: pretrained, loss: {{ce: 1, relation: {{weight: 0.5}}}}}}\n"
    suite = write_suite(tmp_path / "tiny.yaml", weights, text=f"plugins: [{plugin}]\n{text}")
    done = run(suite, "--set", "seeds=[0]", "--store", used, cwd=tmp_path)
    assert "related, big (pretrained)" in done.stdout
    label = "related, big (pretrained) | few | small | seed 0"
    curve = [json.loads(line) for line in records(used)[label]["curve"].splitlines()]
    assert all(row["loss"] == pytest.approx(row["ce"] + 0.5 * row["relation"], rel=1e-5) for row in curve)


def test_two_runs_at_once_do_not_share_a_store(tmp_path, weights):
    suite = write_suite(tmp_path / "tiny.yaml", weights, epochs=2000)
    first = start("run", suite, cwd=tmp_path)
    try:
        wait_for(lambda: list((tmp_path / "runs").glob("teacher/*/state.json")), first)
        second = finish("run", suite, cwd=tmp_path, pinned=False)
        assert second.returncode == 2
        assert "another benchbench run is using store" in second.stderr
    finally:
        kill(first)


def test_a_trained_student_can_be_used_elsewhere(finished):
    from benchbench.data.sources.bundled import load
    from benchbench.export.load import load_trained

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


def test_hours_are_predicted_from_steps_that_plan_measures(suite, tmp_path):
    def plan(*options: str) -> dict[str, Any]:
        arguments = "--set", "recipes.default.precision=fp32", "--jobs", 1, "--json", *options
        done = finish("plan", suite, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    measuring = {"tuning", "calibration"}
    assert not any(stage["predicted_hours"] for stage in plan()["stages"])
    found = {stage["label"]: stage for stage in plan("--calibrate")["stages"]}
    assert {stage["kind"] for stage in found.values() if stage["state"] == "done"} <= measuring
    known = {stage["kind"] for stage in found.values() if stage["predicted_hours"] is not None}
    assert known == {"cell", "teacher", "outputs"}
