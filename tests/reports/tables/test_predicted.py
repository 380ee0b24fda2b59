"""Predictions: figures by hand from the seconds that tuning stages leave, and nothing where one is missing."""

from __future__ import annotations

import pytest

from benchbench.costs.ledger_lines import FinishedLine, SubmittedLine
from benchbench.costs.prediction import predict, predicted_cells
from benchbench.reports.tables.gpu_hours import number
from benchbench.reports.tables.predicted import predicted
from tests.specs import cost_record, tuning_record

# Seconds of a student's training step and of a teacher's forward and training step, an image.
SECONDS = {"student": 0.06, "teacher": 0.1, "adapting": 0.3}


@pytest.fixture
def measured(make_lab):
    """A lab whose tuning stages are done."""

    def make(*overrides: str, threads: int | None = None, **changes):
        lab = make_lab("recipes.default.precision=fp32", *overrides, **changes)
        for key, stage in lab.plan.stages.items():
            if stage.kind == "tuning":
                role = stage.spec.role
                work = role if (role == "student") == stage.spec.trained else "adapting"
                lab.write(key, tuning_record(SECONDS[work], threads, cost=cost_record(device_hours=0.0)))
        return lab

    return make


def cell_of(lab, arm: str) -> tuple[float | None, float | None]:
    return predicted_cells(lab.plan, predict(lab.plan, lab.store))[lab.cells(arm)[0].stage]


def test_images_times_seconds(measured):
    lab = measured()
    stage = lab.plan.stages[lab.cells("scratch")[0].stage]
    num_devices, info = lab.plan.devices.num_devices, lab.plan.info["cifar"]
    images = lab.plan.train_images(stage.spec.data, "cifar") * stage.spec.recipe.epochs
    own = (images * 0.06 + info.test * 0.06 / 3) * num_devices / 3600
    assert cell_of(lab, "scratch") == (pytest.approx(own), pytest.approx(own))
    with_teacher = own + images * 0.1 * num_devices / 3600
    teacher = (images * 0.3 + info.test * 0.3 / 3) * num_devices / 3600  # shared by three seeds
    assert cell_of(lab, "distil") == (pytest.approx(with_teacher), pytest.approx(with_teacher + teacher / 3))


def test_a_network_that_runs_best_on_one_thread_holds_one(measured):
    one = cell_of(measured(threads=1), "scratch")[0]
    assert one * measured().plan.devices.num_devices == pytest.approx(cell_of(measured(), "scratch")[0])


def test_kept_outputs_are_a_stage_of_their_own(measured):
    lab = measured("arms.distil.recipe={views: 1}")
    outputs = next(key for key, stage in lab.plan.stages.items() if stage.kind == "outputs" and stage.needs)
    images = lab.plan.train_images(lab.plan.stages[outputs].spec.data, "cifar")
    assert predict(lab.plan, lab.store)[outputs] == pytest.approx(images * 0.1 * lab.plan.devices.num_devices / 3600)
    assert cell_of(lab, "distil")[0] == pytest.approx(cell_of(lab, "scratch")[0])


def test_what_was_not_measured_is_not_predicted(make_lab, measured):
    assert cell_of(make_lab("recipes.default.precision=fp32"), "distil") == (None, None)
    assert cell_of(make_lab(), "distil") == (None, None)  # where all is exact there is nothing to measure


def test_a_probe_costs_what_runs_its_trunk(measured):
    own, whole = cell_of(measured(), "probe")
    assert own == 0 < whole


def test_the_table_has_both_sides(measured):
    lab = measured()
    assert predicted(lab.frame(), lab.plan, lab.store) is None
    own, whole = cell_of(lab, "distil")
    lab.finish(lab.teacher(), hours=0.0)
    lab.finish_arm("distil", [0.5] * 3, [2 * own] * 3)
    table = predicted(lab.frame(), lab.plan, lab.store)
    (row,) = table.rows
    assert row[0].text == "distil, big (scratch)"
    assert row[3].text == "2.00"
    assert float(row[6].text) == pytest.approx(2 * own / whole, abs=0.01)


def test_what_was_kept_before_the_run_goes_before_what_is_known_now(measured):
    lab = measured("arms={scratch: {method: scratch}}", "teachers={}")
    cells = lab.cells("scratch")
    lab.finish_arm("scratch", [0.5] * 3, [6.0] * 3)
    tuned = cell_of(lab, "scratch")[0]
    assert predicted(lab.frame(), lab.plan, lab.store).rows[0][1].text == number(tuned)
    (lab.store.root / "ledger").mkdir()
    keys = [cell.stage for cell in cells]
    lines = [SubmittedLine(at=0, slot="0", stages=dict.fromkeys(keys, "cell"), predicted=dict.fromkeys(keys, 4.0))]
    lines += [FinishedLine(at=9, slot="0", key=key, kind="cell") for key in keys]
    (lab.store.root / "ledger" / "1.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    table = predicted(lab.frame(), lab.plan, lab.store)
    assert [entry.text for entry in table.rows[0][:4]] == ["scratch", "4.00", "6.00", "1.50"]
    assert not any("no prediction was stored" in note for note in table.notes)


def test_what_was_not_kept_is_said(measured):
    lab = measured("arms={scratch: {method: scratch}}", "teachers={}")
    lab.finish_arm("scratch", [0.5] * 3, [6.0] * 3)
    table = predicted(lab.frame(), lab.plan, lab.store)
    assert any(note.startswith("no prediction was stored for 3 of these stages") for note in table.notes)
