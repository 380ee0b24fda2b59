"""`benchbench run` to its end: tables, sharing, repeated runs, and export from the store."""

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

from benchbench.execution import tune
from benchbench.stages import calibrate
from benchbench.store import Store
from tests.images import pixels
from tests.running.commands import (
    SUITE,
    in_this_process,
    ledger_of,
    results,
    run,
    stage_records,
    write_suite,
)

pytestmark = pytest.mark.whole_run


def test_a_run_leaves_tables_and_stages(finished):
    report = finished / "reports" / "tiny"
    tables = ("accuracy", "gpu_hours", "foundations", "resources", "ledger", "verdicts", "savings")
    tables += ("metrics", "classes", "confusions")
    figures = "pareto", "curves", "costs"
    expected = {f"{name}.{kind}" for name in tables for kind in ("md", "tex", "csv")}
    expected |= {f"{name}.{kind}" for name in figures for kind in ("pdf", "png")}
    expected |= {"tables.tex", "macros.tex", "figures.tex", "figures.md"}
    written = {path.name for path in report.iterdir() if path.stem != "diagnosis"}  # of chance, at this size
    assert written == expected | {"README.md", "results.csv", "COMMAND"}
    with (report / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {row["status"] for row in rows} == {"done"}
    assert all(0 <= float(row["accuracy"]) <= 1 and float(row["own_hours"]) > 0 for row in rows)
    taught = [row for row in rows if row["arm"] == "taught"]
    assert {row["teacher_accuracy"] for row in taught} == {taught[0]["teacher_accuracy"]} != {""}
    assert {row["similarity_end"] for row in taught} == {""}  # it is of suites with pairs
    assert float(taught[0]["shared_stage_hours"]) == pytest.approx(float(taught[0]["stage_hours"]) / 2)
    accuracy = (report / "accuracy.md").read_text()
    assert "taught, big (linear\\_probe)" in accuracy
    assert accuracy.count("(n=2)") == 3
    assert "\\toprule" in (report / "gpu_hours.tex").read_text()


def test_verdicts_are_on_the_images_that_were_tested(finished, store_copy, tmp_path):
    """One run each: images won less images lost is the difference in accuracy times the images."""
    suite = finished / "tiny.yaml"
    run(suite, "--set", "seeds=[0]", "--store", store_copy, "--report", tmp_path / "one", cwd=tmp_path)
    with (tmp_path / "one" / "verdicts.csv").open() as file:
        (row,) = csv.DictReader(file)
    won, lost = map(int, row["images won : lost"].split(" : "))
    assert row["verdict"] == "n too small to test"
    assert won - lost == round(float(row["difference"]) / 100 * 40)
    assert won + lost > 0


def test_every_second_of_a_run_is_on_a_line(finished):
    summary = ledger_of(finished / "runs", slack=0.02)  # the run takes a few seconds
    assert summary.runs == 1
    assert summary.failed == summary.killed == 0
    costs = [record.cost for record in stage_records(finished / "runs", "teacher", "outputs", "cell")]
    assert len(costs) == 8
    assert all(cost.peak_bytes is None or cost.peak_bytes > 10**8 for cost in costs)
    assert min(summary.start, summary.sections["cell", "student"], summary.sections["outputs", "teacher"]) > 0
    table = (finished / "reports/tiny/ledger.md").read_text()
    assert "training steps" in table
    assert "of one run of tiny" in table


def test_a_teacher_is_trained_once_for_all_cells(finished):
    assert len(list((finished / "runs" / "teacher").iterdir())) == 1
    assert len(list((finished / "runs" / "cell").iterdir())) == 6


def test_a_finished_suite_runs_nothing_again(suite, store_copy, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in store_copy.glob("*/*/*")}
    assert before
    again = run(suite, "--store", store_copy, cwd=tmp_path)
    assert "8 stages, 8 done" in again.err
    assert {path: path.stat().st_mtime_ns for path in store_copy.glob("*/*/*")} == before
    planned = in_this_process("plan", suite, "--store", store_copy, "--jobs", 1, "--json", cwd=tmp_path)
    assert {stage["state"] for stage in json.loads(planned.out)["stages"]} == {"done"}


def test_a_changed_recipe_runs_its_cells_again(suite, store_copy, tmp_path):
    changes = ["--set", "arms.scratch.recipe={lr: 5e-4}", "--set", "seeds=[0]"]
    again = run(suite, "--store", store_copy, *changes, cwd=tmp_path)
    assert "5 stages, 4 done" in again.err
    assert again.err.count("done    scratch") == 1


def test_a_plugin_loss_in_a_suite(tmp_path, files, store_copy):
    plugin = Path(__file__).parents[2] / "plugins" / "benchbench-relation" / "benchbench_relation.py"
    text = SUITE + "  related: {{method: distill, adapt: pretrained, loss: {{ce: 1, relation: {{weight: 0.5}}}}}}\n"
    suite = write_suite(tmp_path / "tiny.yaml", files, text=f"plugins: [{plugin}]\n{text}")
    done = run(suite, "--set", "seeds=[0]", "--store", store_copy, cwd=tmp_path)
    assert "related, big (pretrained)" in done.out
    label = "related, big (pretrained) | few | small | seed 0"
    curve = results(store_copy)[label]["curve"]
    assert len(curve) == 2
    assert all(row["loss"] == pytest.approx(row["ce"] + 0.5 * row["relation"], rel=1e-5) for row in curve)


def right(logits: torch.Tensor, labels: torch.Tensor) -> str:
    """The images whose top class is right, as a record has them."""
    return np.packbits((logits.argmax(1) == labels).numpy()).tobytes().hex()


def test_a_trained_student_can_be_used_elsewhere(finished, images):
    from benchbench.export.load import load_trained

    (folder, *_) = Store(finished / "runs").finished("cell")
    model, classes = load_trained(folder.path)
    tested, labels, names = pixels(images, "test")
    assert classes == names
    with torch.no_grad():
        assert right(model(tested).logits, labels) == folder.done().metrics.test_correct


def test_a_trained_student_leaves_for_its_library(finished, images, tmp_path, cli):
    """timm alone classifies the test images correctly that the record has."""
    (record, *_) = stage_records(finished / "runs", "cell")
    done = cli("export", record.key[:12], "--store", finished / "runs", "--out", tmp_path / "mine")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first == f"written to {tmp_path / 'mine'}: README.md, config.json, model.safetensors"
    assert second.startswith("checked: loaded by timm it gives the same logits (largest difference ")
    model = timm.create_model(f"local-dir:{tmp_path / 'mine'}", pretrained=True).eval()
    config, (tested, labels, names) = model.pretrained_cfg, pixels(images, "test")
    assert config["label_names"] == list(names)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        assert right(model((tested - mean) / std), labels) == record.metrics.test_correct


def test_images_of_many_sizes_stream_through_loader_processes(tmp_path):
    """With two threads a worker has loader processes, which must not wait for the worker's standard input."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = random.integers(30, 60, 2)
                pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    (tmp_path / "suite.yaml").write_text("""
name: streamed
seeds: [0]
data: {mine: {source: {imagefolder: {path: images}}}}
students: {small: {model: timm/test_efficientnet}}
recipes: {default: {epochs: 1, batch_size: 4, image_size: 16, augment: {random_resized_crop: {}, flip: {}}}}
arms: {scratch: {method: scratch}}
""")
    run("suite.yaml", "--jobs", 1, cwd=tmp_path, workers=True, pinned=False)
    (record,) = stage_records(tmp_path / "runs", "cell")
    assert record.metrics.test_count == 6
    assert record.data.names == ("cat", "dog")

    changed = tmp_path / "images" / "train" / "cat" / "0.png"
    (tmp_path / "images" / "train" / "dog" / "0.png").replace(changed)
    assert "2 stages, 0 done" not in run("suite.yaml", cwd=tmp_path, pinned=False).err
    assert len(stage_records(tmp_path / "runs", "cell")) == 2  # other images are another stage


def test_hours_are_predicted_from_steps_that_plan_measures(suite, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 0.05)
    monkeypatch.setattr(tune, "ROUND_SECONDS", 0.01)

    def plan(*options: str) -> dict[str, Any]:
        arguments = "--set", "recipes.default.precision=fp32", "--jobs", 1, "--executor", "inline", "--json", *options
        done = in_this_process("plan", suite, *arguments, cwd=tmp_path)
        assert done.code == 0, done.err
        return json.loads(done.out)

    measuring = {"tuning", "calibration"}
    assert not any(stage["predicted_hours"] for stage in plan()["stages"])
    stages = plan("--calibrate")["stages"]
    assert {stage["kind"] for stage in stages if stage["state"] == "done"} <= measuring
    known = {stage["kind"] for stage in stages if stage["predicted_hours"] is not None}
    assert known == {"cell", "teacher", "outputs"}
