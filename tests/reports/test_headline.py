"""The metric that a suite is about: tables, verdicts, figures and the answer follow it and say its name."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchbench.errors import SuiteError
from benchbench.reports.headline import renamed
from benchbench.reports.macros import macros
from benchbench.reports.page.data import page_data
from benchbench.reports.report import make_report
from benchbench.reports.tables.verdicts import compare
from benchbench.store import Predictions, write_predictions

LABELS = np.repeat([0, 1], [900, 100])


def answer(lab, key: str, wrong: np.ndarray) -> None:
    """Finishes a cell with predictions of two classes, of which some are wrong."""
    top = np.where(wrong, 1 - LABELS, LABELS)
    lab.finish(key, correct=~wrong)
    probabilities = np.tile(np.array([0.75, 0.25], np.float16), (1000, 1))
    write_predictions(lab.folder(key).predictions, Predictions(LABELS, np.stack([top, 1 - top], 1), probabilities))


@pytest.fixture
def lab(make_lab):
    """Fine-tuning answers the large class alone; distillation is right on eight of ten of each."""

    def make(*overrides: str):
        lab = make_lab(*overrides)
        lab.finish(lab.teacher(), accuracy=0.9)
        for seed, cell in enumerate(lab.cells("tune")):
            answer(lab, cell.stage, (LABELS == 1) & (np.arange(1000) >= 900 + seed))
        for seed, cell in enumerate(lab.cells("distil")):
            answer(lab, cell.stage, (np.arange(1000) + seed) % 5 == 0)
        return lab

    return make


def test_columns_come_from_stored_predictions(lab):
    frame = lab().frame()
    tune, distil = (frame[frame.arm == arm].iloc[0] for arm in ("tune", "distil"))
    assert (tune.accuracy, tune.balanced_accuracy) == (0.9, 0.5)
    assert (distil.accuracy, distil.balanced_accuracy) == pytest.approx((0.8, 0.8))
    assert tune.calibration_error == pytest.approx(0.15)  # 0.9 against 0.75
    assert tune.top5_accuracy is None or np.isnan(tune.top5_accuracy)  # of two classes
    assert frame[frame.arm == "scratch"].balanced_accuracy.isna().all()


def test_verdicts_follow_the_metric_and_everything_says_its_name(lab):
    plain, balanced = (lab(*overrides) for overrides in ((), ("metric=balanced_accuracy",)))
    assert plain.plan.key == balanced.plan.key
    reports = [make_report(each.plan, each.store, "command") for each in (plain, balanced)]
    (before,), (after,) = (compare(each.headline, 0.5, 0.05) for each in reports)
    assert (before.verdict, after.verdict) == ("falls short", "surpasses")
    assert after.difference == pytest.approx(29.5, abs=1)
    assert reports[0].results.equals(reports[1].results)  # results.csv has both
    for name in ("accuracy", "verdicts"):
        texts = [each.table_by_name[name] for each in reports]
        assert "balanced" not in " ".join([texts[0].title, *texts[0].notes])
        assert all("balanced accuracy" in " ".join([each.title, *each.notes]) for each in texts[1:])
    assert "Test balanced accuracy (%)" in reports[1].table_by_name["accuracy"].title
    for each in reports:  # a teacher's is its plain accuracy
        assert "teachers' accuracy: big (scratch) on cifar 90.0" in each.table_by_name["accuracy"].notes
    assert reports[1].answer.startswith("By balanced accuracy: ")
    commands = macros(reports[1], "about")
    assert r"\tinyAnswer}{By balanced accuracy: " in commands
    assert "mean test balanced accuracy, in percent" in commands
    figure = reports[1].figure_by_name["pareto"]
    assert figure.title.startswith("Test balanced accuracy against")
    assert any("test balanced accuracy (%)" in axis.get_ylabel() for axis in figure.figure.axes)


def test_cells_without_predictions_count_as_missing(lab):
    lab = lab("metric=balanced_accuracy")
    lab.folder(lab.cells("tune")[0].stage).predictions.unlink()
    report = make_report(lab.plan, lab.store, "command")
    table = report.table_by_name["accuracy"]
    assert any("(n=2, 1 missing)" in row[1].text for row in table.rows)
    assert any(note.startswith("1 cells that are done have no balanced accuracy") for note in table.notes)


def test_predictions_of_another_record_are_named(lab):
    lab = lab()
    first, second = (lab.folder(cell.stage) for cell in lab.cells("tune")[:2])
    first.predictions.write_bytes(second.predictions.read_bytes())
    row = lab.frame().set_index("key").loc[lab.cells("tune")[0].stage]
    assert row.status == "failed"
    assert "predictions.npz is not of the record beside it" in row.reason


def test_words():
    plan = SimpleNamespace(suite=SimpleNamespace(metric="top5_accuracy"), task="classification")
    text = "test accuracy; validation accuracy; mean accuracy of a teacher"
    assert renamed(text, plan) == "test top-5 accuracy; validation accuracy; mean top-5 accuracy of a teacher"


def test_an_unknown_metric_is_named(tiny_suite, tmp_path, plan_of):
    path = tiny_suite(tmp_path, metric="balanced_acuracy")
    with pytest.raises(SuiteError, match="metric 'balanced_acuracy' does not exist; did you mean 'balanced_accuracy'"):
        plan_of(path)


def test_tables_of_classes_and_confusions(lab):
    lab = lab()
    report = make_report(lab.plan, lab.store, "command")
    metrics, classes, confusions = (report.table_by_name[name] for name in ("metrics", "classes", "confusions"))
    rows = {row[0].text: [entry.text for entry in row[1:]] for row in metrics.rows}
    assert rows["tune"] == ["90.1 ± 0.1", "50.5 ± 0.5", "–", "15.1 ± 0.1", "3"]
    assert set(rows["scratch"][:-1]) == {"–"}
    assert [[entry.text for entry in row] for row in classes.rows] == [
        ["b", "100", "1.0", "80.0"],
        ["a", "900", "100.0", "80.0"],
    ]
    assert [entry.text for entry in confusions.rows[0]] == ["tune", "b", "a", "99.0", "99"]


def test_cells_without_the_metric_are_done_and_have_no_answer(lab):
    report = make_report(lab("metric=top5_accuracy").plan, lab("metric=top5_accuracy").store, "benchbench report")
    assert report.answer.startswith("By top-5 accuracy: No cell has the metric, so there is no answer: ")
    assert "6 not run yet and 6 done without this metric, of 12 cells." in report.answer


def test_the_page_has_the_metric_that_it_names(lab):
    made = lab("metric=balanced_accuracy")
    data = page_data(make_report(made.plan, made.store, "benchbench report"))
    accuracies = {cell["row"].split(",")[0]: cell["accuracy"] for cell in data["cells"] if cell["status"] == "done"}
    assert data["measure"] == "balanced accuracy"
    assert accuracies == pytest.approx({"tune": 0.509, "distil": 0.8}, abs=0.01)


def test_images_that_speak_for_the_other_side_are_no_evidence(lab):
    """Distillation is ahead by the mean over the classes, and behind on most images."""
    made = lab("seeds=[5]", "metric=balanced_accuracy")
    report = make_report(made.plan, made.store, "benchbench report")
    words = "distillation was better than tune by 30.0 points (too few seeds for an interval, so this may be chance)"
    assert words in report.answer
