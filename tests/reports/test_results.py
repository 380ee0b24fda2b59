"""Results as a frame: one row per cell, in every state."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchbench.reports.columns import COLUMNS
from benchbench.specs.records import Environment
from benchbench.statistics.examples import unpack
from benchbench.store import StageFolder, write_json
from tests.reports.conftest import cost_of
from tests.specs import calibration_record


def row(lab, arm: str, seed: int = 0) -> pd.Series:
    frame = lab.frame()
    return frame[(frame.arm == arm) & (frame.seed == seed)].iloc[0]


def test_a_row_for_every_cell_in_the_plan_s_order(lab):
    frame = lab.frame()
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame.key) == [cell.stage for cell in lab.plan.cells]
    assert list(frame["row"]) == [cell.row for cell in lab.plan.cells]
    assert set(frame.status) == {"missing"}
    assert frame.accuracy.isna().all()


def test_a_finished_cell(finished):
    cell = row(finished, "scratch", seed=1)
    assert (cell.status, cell.accuracy, cell.own_hours) == ("done", 0.6, 2.0)
    assert (cell.stage_hours, cell.shared_stage_hours, cell.pretraining_hours) == (0, 0, 0)
    assert (cell.test_images, cell.train_images, cell.parameters) == (1000, 40, 123)
    assert (cell.unit, cell.device, cell.weights_sha256) == ("GPU-hours", "Big GPU", "ab" * 32)
    assert pd.isna(cell.reason)
    assert pd.isna(cell.teacher)


def test_a_teacher_s_cost_is_shared_by_the_cells_that_need_it(finished):
    cell = row(finished, "distil")
    assert (cell.teacher, cell.adapt, cell.teacher_accuracy) == ("big", "scratch", 0.9)
    assert (cell.own_hours, cell.stage_hours, cell.shared_stage_hours) == (3.0, 6.0, 6.0 / 3)


def test_a_teacher_s_energy_in_full_and_shared(lab):
    lab.finish(lab.cells("distil")[0].stage, energy_joules=1.0)
    lab.finish(lab.teacher(), energy_joules=600.0)
    cell = row(lab, "distil")
    assert (cell.energy_joules, cell.stage_joules, cell.shared_stage_joules) == (1.0, 600.0, 600.0 / 3)
    lab.finish(lab.teacher())  # it was not measured
    assert row(lab, "distil")[["stage_joules", "shared_stage_joules"]].isna().all()


def test_more_cells_have_smaller_shares(make_lab):
    lab = make_lab("arms.again={method: distill, loss: {align_uniform: 1}}")
    lab.finish(lab.teacher(), hours=6.0)
    lab.finish(lab.cells("again")[0].stage)
    assert row(lab, "again").shared_stage_hours == 6.0 / 6


@pytest.mark.parametrize(("arm", "hours"), [("tune", 2.0), ("probe", 2.0), ("scratch", 0.0), ("distil", 0.0)])
def test_pretraining_is_images_times_epochs_over_throughput(finished, arm, hours):
    # 36,000 images x 10 epochs at 50 a second are 7,200 seconds.
    assert row(finished, arm).pretraining_hours == hours


def test_pretraining_counts_every_device(finished):
    finished.calibrate(images_per_second=100.0, devices=4)
    finished.finish(finished.cells("tune")[0].stage, devices=4)
    assert row(finished, "tune").pretraining_hours == 4.0


def test_the_throughput_is_that_of_the_device_the_cell_ran_on(finished, make_lab):
    """Whichever machine makes the report; a calibration of another device prices nothing."""
    finished.calibrate(images_per_second=100.0, device="Other GPU")
    assert pd.isna(row(finished, "tune").pretraining_hours)
    calibration = finished.folder(finished.cells("tune")[0].calibration)
    elsewhere = StageFolder(calibration.path.with_name("of-another-machine"))
    calibration.path.rename(elsewhere.path)
    elsewhere.write_spec(elsewhere.read_spec().model_copy(update={"device": "Big GPU", "threads": 3}))
    elsewhere.write_record(elsewhere.done().model_copy(update={"environment": Environment(device="Big GPU")}))
    assert row(finished, "tune").pretraining_hours == 1.0


def test_the_throughput_need_not_be_that_of_as_many_devices(finished):
    """A run may book one core of a worker that measured on two: device-hours are those of the measurement."""
    finished.calibrate(images_per_second=100.0, devices=2)
    assert row(finished, "tune").pretraining_hours == 2.0


def test_the_throughput_of_as_many_devices_comes_first(finished):
    finished.calibrate(images_per_second=100.0, devices=2)
    calibration = finished.folder(finished.cells("tune")[0].calibration)
    other = StageFolder(calibration.path.with_name("of-one-core"))
    other.path.mkdir()
    other.write_spec(calibration.read_spec().model_copy(update={"threads": 7}))
    record = calibration_record(50.0, cost=cost_of(0.01), environment=Environment(device="Big GPU"))
    other.write_record(record.model_copy(update={"key": "ab", "label": "c"}))
    assert row(finished, "tune").pretraining_hours == 2.0
    finished.calibrate(images_per_second=400.0, devices=4)
    assert row(finished, "tune").pretraining_hours == 2.0
    calibration.record.write_text("damaged")
    assert row(finished, "tune").status == "failed"


def test_tuning_by_workers_of_other_threads_counts(make_lab):
    """A report with other `--jobs` than the run's plans tunings for other numbers of threads."""
    lab = make_lab("recipes.default.precision=fp32")
    cell = lab.cells("scratch")[0]
    lab.finish(cell.stage, hours=1.0)
    (tuning,) = lab.plan.stages[cell.stage].soft_needs.values()
    assert row(lab, "scratch").stage_hours == 0.0  # it is nowhere
    lab.finish(tuning, hours=0.5)
    assert row(lab, "scratch").stage_hours == 0.5
    lab.folder(tuning).write_spec(lab.plan.stages[tuning].spec.model_copy(update={"threads": 64}))
    lab.folder(tuning).path.rename(lab.folder(tuning).path.with_name("of-64-threads"))
    assert row(lab, "scratch").stage_hours == 0.5
    assert row(lab, "scratch").shared_stage_hours == pytest.approx(0.5 / lab_users(lab, tuning))


def lab_users(lab, key: str) -> int:
    return sum(key in lab.plan.dependencies(cell.stage) for cell in lab.plan.cells)


def test_pretraining_is_unknown_without_a_throughput(lab):
    lab.finish_arm("tune", [0.5])
    assert pd.isna(row(lab, "tune").pretraining_hours)


def test_pretraining_is_unknown_without_a_recipe(make_lab):
    lab = make_lab("students.small.pretraining=null")
    lab.finish_arm("tune", [0.5])
    lab.finish_arm("scratch", [0.5])
    assert pd.isna(row(lab, "tune").pretraining_hours)
    assert row(lab, "scratch").pretraining_hours == 0


def test_a_failed_cell_has_its_reason(lab):
    lab.fail(lab.cells("scratch")[1].stage, "out of memory")
    assert (row(lab, "scratch", 1).status, row(lab, "scratch", 1).reason) == ("failed", "out of memory")
    assert row(lab, "scratch", 0).status == "missing"


def test_a_cell_whose_teacher_failed_has_failed(lab):
    lab.fail(lab.teacher(), "no such weights")
    assert (row(lab, "distil").status, row(lab, "distil").reason) == ("failed", "no such weights")
    assert row(lab, "scratch").status == "missing"


def test_a_cell_that_failed_once_and_is_done_now_is_done(lab):
    cell = lab.cells("scratch")[0]
    lab.fail(cell.stage, "out of memory")
    lab.finish(cell.stage)
    assert row(lab, "scratch").status == "done"
    assert pd.isna(row(lab, "scratch").reason)


def test_a_damaged_record(lab):
    cell = lab.cells("scratch")[0]
    lab.finish(cell.stage)
    record = lab.folder(cell.stage).record
    record.write_bytes(record.read_bytes()[:100])
    frame = lab.frame()
    assert list(frame.status[:3]) == ["failed", "missing", "missing"]
    assert frame.reason[0].startswith(f"{record} cannot be read")
    assert f"delete {record.parent} to run it again" in frame.reason[0]


def test_a_record_that_lacks_something(lab):
    cell = lab.cells("scratch")[0]
    lab.finish(cell.stage)
    record = lab.folder(cell.stage).record
    content = json.loads(record.read_bytes())
    del content["metrics"]["test_accuracy"]
    write_json(record, content)
    assert lab.frame().status[0] == "failed"
    assert lab.frame().reason[0].startswith(f"{record} cannot be read (cell.metrics.test_accuracy: Field required)")


def test_a_record_of_another_kind_of_stage(lab):
    cell = lab.cells("scratch")[0]
    lab.write(cell.stage, calibration_record())
    reason = lab.frame().reason[0]
    assert "is the record of a stage 'calibration'; delete" in reason


def test_a_teacher_that_is_gone(finished):
    finished.folder(finished.teacher()).record.unlink()
    frame = finished.frame()
    assert set(frame[frame.status == "failed"].arm) == {"distil"}
    assert frame[frame.status == "failed"].reason.str.contains("which is gone; run the suite again").all()


class TestBits:
    """Test images that a cell got right."""

    def test_are_in_the_frame(self, lab):
        correct = [image % 3 == 0 for image in range(1000)]
        lab.finish(lab.cells("scratch")[0].stage, correct=correct)
        assert unpack(row(lab, "scratch").test_correct, 1000).tolist() == correct

    def test_need_not_be_there(self, lab):
        lab.finish(lab.cells("scratch")[0].stage)
        assert row(lab, "scratch").status == "done"
        assert pd.isna(row(lab, "scratch").test_correct)

    @pytest.mark.parametrize(
        "bits",
        ["ff" * 124, "zz" * 125],
    )
    def test_that_cannot_be_of_these_images_are_damage(self, lab, bits):
        key = lab.cells("scratch")[0].stage
        lab.finish(key)
        lab.change(key, "metrics", test_correct=bits)
        assert row(lab, "scratch").status == "failed"
        reason = "contradicts itself (metrics.test_correct is not 125 bytes in hex for 1000 images); delete"
        assert reason in row(lab, "scratch").reason


def test_a_chain_has_the_methods_before_it(make_lab):
    arms = {
        "tune": {"method": "finetune"},
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}, "start": "tune"},
        "last": {"method": "linear_probe", "start": "distil"},
    }
    lab = make_lab(arms=arms)
    assert pd.isna(row(lab, "tune").earlier_methods)
    assert row(lab, "distil").earlier_methods == "finetune"
    assert row(lab, "last").earlier_methods == "finetune + distill"
