"""The content of a page: every cell, every stage once, and no more of logs and curves than its bounds."""

from __future__ import annotations

import json
import os
import time

import pytest

from benchbench.executors.stage_progress import StageReporter
from benchbench.reports.page.stages import CURVE_POINTS, ITEMS, LOG_BYTES, TEXT, Bounds, short
from benchbench.specs.records import ExecutionRecord, Progress
from benchbench.store import StageState, write_json
from benchbench.store.processes import this_process


def stage_of(data: dict, cell: dict) -> dict:
    return data["stages"][cell["stage"]]


def sections(data: dict, stage: dict) -> dict:
    return {title: data["pool"][place] for title, place in stage["sections"].items()}


class TestCells:
    def test_a_done_one(self, run_lab, data_of):
        cell = data_of(run_lab)["cells"][9]
        assert cell == {
            "row": "distil, big (scratch)",
            "data": "cifar",
            "student": "small",
            "teacher": "big",
            "seed": 0,
            "status": "done",
            "accuracy": 0.6,
            "unit": "GPU-hours",
            "own": 3.0,
            "shared": 2.0,
            "pretraining": 0.0,
            "stage": run_lab.cells("distil")[0].stage[:16],
        }

    def test_what_is_not_known_is_left_out(self, run_lab, data_of):
        run_lab.fail(
            run_lab.cells("scratch")[1].stage, f"ValueError: no (traceback in {run_lab.store.root}/cell/x/log.txt)"
        )
        failed, missing = data_of(run_lab)["cells"][1:3]
        assert "accuracy" not in failed | missing
        assert (failed["status"], missing["status"]) == ("failed", "missing")
        assert failed["reason"] == "ValueError: no"  # equal failures have equal reasons; the page has the log itself

    @pytest.mark.parametrize(
        ("metric", "measured"), [("accuracy", True), ("balanced_accuracy", False), ("top5_accuracy", False)]
    )
    def test_without_predictions_there_is_no_other_metric(self, make_lab, data_of, metric, measured):
        lab = make_lab(f"metric={metric}")
        lab.finish_arm("tune", [0.5])
        data = data_of(lab)
        assert data["cells"][6]["status"] == "done"
        assert ("accuracy" in data["cells"][6]) == measured
        assert len(data["summary"]["items"]) == measured
        assert data["summary"]["title"] == f"Test {data['measure']} in short"

    def test_running_or_interrupted(self, run_lab, data_of):
        key = run_lab.cells("scratch")[2].stage
        run_lab.folder(key).path.mkdir()
        run_lab.folder(key).write_state(StageState(status="running", attempts=3, started=5.0))
        with run_lab.claimed(key):
            data = data_of(run_lab)
        assert (data["active"], data["cells"][2]["status"]) == (True, "running")
        expected = {"status": "running", "attempts": 3, "started": 5.0, "holder": str(this_process())}
        assert expected.items() <= data["stages"][key[:16]].items()
        data = data_of(run_lab)
        assert (data["active"], data["cells"][2]["status"]) == (False, "interrupted")

    def test_the_progress_of_a_running_one(self, run_lab, data_of):
        """With the time of its last step, from which the page tells how long it has been silent."""
        key = run_lab.cells("scratch")[2].stage
        folder = run_lab.folder(key)
        folder.path.mkdir()
        folder.write_state(StageState(status="running", attempts=1, started=5.0))
        before = time.time()
        StageReporter(folder, lambda progress: None)(Progress(done=3, total=4, epoch=1, epochs=2, loss=0.5))
        with run_lab.claimed(key):
            stage = data_of(run_lab)["stages"][key[:16]]
        assert stage["progress"] == "epoch 1/2, 75%, loss 0.5"
        assert before <= stage["last_step"] <= time.time()
        assert "progress" not in data_of(run_lab)["stages"][key[:16]]  # it has been interrupted


class TestStages:
    def test_all_of_them_each_once(self, run_lab, data_of):
        data = data_of(run_lab)
        assert list(data["stages"]) == [key[:16] for key in run_lab.plan.stages]
        probed = run_lab.plan.stages[run_lab.cells("probe")[0].stage].needs["features"]
        needed = {key for stage in data["stages"].values() for key in stage["needs"].values()}
        assert needed == {run_lab.teacher()[:16], probed[:16]}

    def test_what_makes_one_faster_is_kept_apart_from_what_it_needs(self, make_lab, data_of):
        lab = make_lab("recipes.default.precision=fp32")
        stages = data_of(lab)["stages"]
        stage = stages[lab.cells("distil")[0].stage[:16]]
        assert set(stage["needs"]) == {"teacher0"}
        assert {role: stages[key]["kind"] for role, key in stage["soft_needs"].items()} == {
            "tuning.teacher0": "tuning",
            "tuning.student": "tuning",
        }

    def test_costs_of_cells_that_ran_side_by_side(self, run_lab, data_of):
        alone, beside = (cell.stage for cell in run_lab.cells("tune")[:2])
        run_lab.finish(
            beside, cohort=2, seconds={"student": 5.0, "data": 1.0}, alone_seconds={"student": 5.0, "data": 2.0}
        )
        data = data_of(run_lab)
        costs = [sections(data, data["stages"][key[:16]])["Cost"] for key in (alone, beside)]
        assert (costs[0]["cohort"], costs[0]["seconds"]) == (1, {"train": 4 * 3600})
        assert "alone_device_hours" in costs[1]
        assert costs[1]["seconds here"] == {"student": 5.0, "data": 1.0}
        assert costs[1]["seconds if alone"] == {"student": 5.0, "data": 2.0}

    def test_cached_outputs_and_execution(self, run_lab, data_of):
        key = run_lab.plan.stages[run_lab.cells("probe")[0].stage].needs["features"]
        run_lab.change(key, "outputs", views=1, bytes=7)
        execution = {"teacher0": ExecutionRecord(precision="bf16")}
        run_lab.write(key, run_lab.record(key).model_copy(update={"execution": execution}))
        data = data_of(run_lab)
        parts = sections(data, data["stages"][key[:16]])
        assert {"views": 1, "bytes": 7}.items() <= parts["Cached outputs"].items()
        assert parts["Execution"]["teacher0"]["precision"] == "bf16"

    def test_spec_and_record(self, run_lab, data_of):
        data = data_of(run_lab)
        parts = sections(data, stage_of(data, data["cells"][9]))
        assert parts["Recipe"]["batch_size"] == 20
        assert parts["Loss"] == {
            "ce": {"weight": 1.0, "label_smoothing": 0.0},
            "kd": {"weight": 1.0, "standardize": False, "temperature": 4.0},
        }
        assert parts["Result"]["test_accuracy"] == 0.6
        assert "test_correct" not in parts["Result"]
        assert parts["Cost"]["device_hours"] == 3.0
        assert parts["Weights"] == {"sha256": "ab" * 32}
        assert parts["Environment"]["device"] == "Big GPU"
        assert parts["Other settings"]["seed"] == 0

    def test_what_cells_share_is_there_once(self, run_lab, data_of):
        data = data_of(run_lab)
        cells = [stage_of(data, cell) for cell in data["cells"] if cell["row"] != "probe"]  # which has views
        assert len({stage["sections"]["Recipe"] for stage in cells}) == 1
        texts = [json.dumps(value, sort_keys=True) for value in data["pool"]]
        assert len(set(texts)) == len(texts)

    def test_a_damaged_record(self, run_lab, data_of):
        cell = run_lab.cells("tune")[0]
        run_lab.folder(cell.stage).record.write_text("{")
        stage = data_of(run_lab)["stages"][cell.stage[:16]]
        assert stage["status"] == "failed"
        assert "cannot be read" in stage["reason"]

    @pytest.mark.parametrize("record", [[], {"metrics": [1]}, {"cost": "none", "environment": None}])
    def test_a_record_of_another_shape(self, run_lab, data_of, record):
        cell = run_lab.cells("tune")[0]
        write_json(run_lab.folder(cell.stage).record, record)
        data = data_of(run_lab)
        assert data["cells"][6]["status"] == "failed"
        assert json.dumps(data, allow_nan=False)


class TestBounds:
    def test_a_page_of_few_has_more_of_each(self):
        assert Bounds.of(1) == Bounds.of(10) == Bounds(log=LOG_BYTES, points=CURVE_POINTS)
        assert Bounds.of(1_000) == Bounds(log=1_000, points=50)
        assert Bounds.of(1_000_000) == Bounds(log=200, points=20)

    def test_of_a_long_log_the_end_is_kept_from_the_beginning_of_a_line(self, run_lab, data_of):
        cell = run_lab.cells("tune")[0]
        assert data_of(run_lab)["left_out"] == []
        lines = "".join(f"line {n} — done\n" for n in range(100_000))
        run_lab.folder(cell.stage).log.write_text(lines, encoding="utf-8")
        data = data_of(run_lab)
        log = data["stages"][cell.stage[:16]]["log"]
        assert lines.endswith(log)
        assert log.startswith("line ")
        assert 0.9 * LOG_BYTES < len(log.encode()) <= LOG_BYTES
        assert data["left_out"][0] == "Of 1 logs only the last 4,000 bytes are here."
        assert "log.txt" in data["left_out"][-1]

    def test_one_long_line_and_bytes_that_are_no_text(self, run_lab, data_of):
        first, second = (cell.stage for cell in run_lab.cells("tune")[:2])
        run_lab.folder(first).log.write_text("x" * 10_000)
        run_lab.folder(second).log.write_bytes(b"\xff\xfe\x00 \x1b[31mred")
        stages = data_of(run_lab)["stages"]
        assert stages[first[:16]]["log"] == "x" * LOG_BYTES
        assert stages[second[:16]]["log"] == "\ufffd\ufffd\\x00 \\x1b[31mred"

    def test_of_a_long_curve_every_kth_epoch_with_both_ends(self, run_lab, data_of):
        cell = run_lab.cells("tune")[0]
        rows = [{"epoch": n, "loss": 1 / n} for n in range(1, 1000)]
        run_lab.folder(cell.stage).curve.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = data_of(run_lab)
        curve = data["stages"][cell.stage[:16]]["curve"]
        assert curve["epoch"] == [1, *range(5, 996, 5), 999]
        assert curve["loss"][:2] == [1.0, 0.2]
        assert curve["loss"][-1] == 0.001001
        assert data["left_out"][0] == "Of 1 curves about 200 evenly spaced epochs each are here."

    def test_a_curve_that_is_being_written_or_has_gaps(self, run_lab, data_of):
        cell = run_lab.cells("tune")[0]
        text = '{"epoch": 1, "loss": NaN}\n[1]\n{"loss": 2}\n{"epoch": 2, "other": "x", "kd": true}\n{"epoch": 3, "lo'
        run_lab.folder(cell.stage).curve.write_text(text)
        curve = data_of(run_lab)["stages"][cell.stage[:16]]["curve"]
        assert curve == {"epoch": [1, 2], "loss": [None, None], "other": [None, None], "kd": [None, None]}

    def test_long_parts_of_a_record_are_cut_and_marked(self):
        assert short("x" * 1000) == "x" * TEXT + "… (1000 characters)"
        assert short({"names": list(range(1000))}) == {"names": [*range(ITEMS), "… (1000 in all)"]}
        assert short([float("nan"), 1.5, None, True]) == ["nan", 1.5, None, True]


class TestTables:
    def test_verdicts_come_first_and_the_others_in_their_order(self, run_lab, data_of):
        data = data_of(run_lab, tables=True)
        assert [table["name"] for table in data["tables"]] == [
            "verdicts",
            "accuracy",
            "gpu_hours",
            "foundations",
            "resources",
            "savings",
            "break_even",
            "diagnosis",
        ]
        table = data["tables"][0]
        (row,) = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
        assert row["verdict"] == {"text": "inconclusive", "tone": "open"}
        assert row["arm"] == {"text": "distil, big (scratch)"}
        assert data["summary"]["title"] == "Verdicts"

    def test_one_of_a_plugin_with_the_same_name_is_there_too(self, make_lab, data_of, tmp_path):
        plugin = """
from benchbench import Component, hookimpl
from benchbench.reports.table import Entry, Table

@hookimpl
def benchbench_reports():
    yield Component("other", __name__ + ":other")

def other(results, plan):
    return Table("verdicts", "By eye", ["arm", "verdict"], [[Entry("distil"), Entry("matches")]], ["a note"])
"""
        (tmp_path / "other.py").write_text(plugin)
        data = data_of(make_lab(plugins=["other.py"]), tables=True)
        first, second = data["tables"][:2]
        assert (first["name"], second["name"]) == ("verdicts", "verdicts")
        assert second["rows"] == [[{"text": "distil"}, {"text": "matches", "tone": "even"}]]
        assert second["notes"][0] == "a note"
        assert [item["label"] for item in data["summary"]["items"]] == ["distil"]

    def test_what_stands_out_is_marked(self, run_lab, data_of):
        (rows,) = (table["rows"] for table in data_of(run_lab, tables=True)["tables"] if table["name"] == "accuracy")
        bold = {row[0]["text"]: row[1].get("bold", False) for row in rows}
        # With n = 3 the interval around 80 +- 10 holds 70, but not the 50 and the 40 of the others.
        assert bold == {"scratch": False, "probe": False, "tune": True, "distil, big (scratch)": True}


def test_the_store_is_only_read(run_lab, data_of):
    def files() -> dict:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run_lab.store.root.rglob("*")}

    for path in run_lab.store.root.rglob("*"):
        os.utime(path, (1, 1))
    before = files()
    data_of(run_lab, tables=True)
    assert files() == before


def test_lists_of_classes_are_kept_short(run_lab, data_of):
    cell = run_lab.cells("tune")[0]
    run_lab.change(cell.stage, "data", names=tuple(f"class {n}" for n in range(200)))
    data = data_of(run_lab)
    names = sections(data, data["stages"][cell.stage[:16]])["Data as read"]["names"]
    assert (len(names), names[-1]) == (ITEMS + 1, "… (200 in all)")
