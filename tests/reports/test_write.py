"""Reports on disk: every table in every format, the long form, and the command that made them."""

from __future__ import annotations

import pandas as pd
import pytest

from benchbench.errors import StoreError
from benchbench.reports.results import COLUMNS, readable
from benchbench.reports.write import make_tables, write_report

PLUGIN = """
from benchbench import Component, hookimpl
from benchbench.reports.table import Entry, Table

@hookimpl
def benchbench_reports():
    yield Component("count", __name__ + ":count")

def count(results, plan):
    return Table("count", "How many", ["what", "n"], [[Entry("cells"), Entry(str(len(results)))]])
"""

COMMAND = "benchbench report suites/tiny.yaml --set 'seeds=[0]'"


def test_every_table_in_every_format(finished, tmp_path):
    results, tables = make_tables(finished.plan, finished.store, COMMAND)
    folder = tmp_path / "deep" / "reports"
    paths = write_report(results, tables, folder, ("md", "tex", "csv", "txt"), "benchbench report 'a b.yaml'")
    names = {
        f"{table}.{kind}"
        for table in ("accuracy", "gpu_hours", "verdicts", "diagnosis")
        for kind in ("md", "tex", "csv", "txt")
    }
    assert {path.name for path in paths} == {path.name for path in folder.iterdir()}
    assert {path.name for path in paths} == {*names, "results.csv", "COMMAND"}
    assert (folder / "COMMAND").read_text() == "benchbench report 'a b.yaml'\n"
    assert "66.7 ± 20.8 (n=3)" in (folder / "accuracy.md").read_text(encoding="utf-8")
    assert r"66.7 $\pm$ 20.8 (n=3)" in (folder / "accuracy.tex").read_text()
    assert r"\textbf{80.0 $\pm$ 10.0 (n=3)}" in (folder / "accuracy.tex").read_text()


def test_every_table_says_what_made_it(finished):
    _, tables = make_tables(finished.plan, finished.store, COMMAND)
    for table in tables:
        assert finished.plan.key[:16] in table.notes[-1]
        assert table.notes[-1].endswith(f"made by: {COMMAND}")


def test_results_read_back_with_pandas(finished, tmp_path):
    finished.fail(finished.cells("scratch")[0].stage, 'a "quoted", comma\nand line')
    finished.folder(finished.cells("scratch")[0].stage).record.unlink()
    results, tables = make_tables(finished.plan, finished.store, COMMAND)
    write_report(results, tables, tmp_path / "out", ("md",), "")
    found = pd.read_csv(tmp_path / "out" / "results.csv")
    assert (
        list(found.columns) == [name for name in COLUMNS if name != "test_correct"] == list(readable(results).columns)
    )
    assert list(found.key) == [cell.stage for cell in finished.plan.cells]
    assert list(found.status) == ["failed"] + ["done"] * 11
    assert found.reason[0] == 'a "quoted", comma\nand line'
    for column in ("accuracy", "own_hours", "shared_stage_hours", "pretraining_hours", "teacher_accuracy"):
        pd.testing.assert_series_equal(found[column], results[column].astype(float), check_exact=True)
    assert found[found.arm == "tune"].accuracy.mean() == pytest.approx(0.8)


def test_the_same_results_give_the_same_bytes(finished, tmp_path):
    for name in ("one", "two"):
        results, tables = make_tables(finished.plan, finished.store, COMMAND)
        write_report(results, tables, tmp_path / name, ("md", "tex", "csv", "txt"), "same")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_second_report_replaces_the_first(lab, tmp_path):
    for accuracy in (0.25, 0.75):
        lab.finish_arm("scratch", [accuracy])
        write_report(*make_tables(lab.plan, lab.store, COMMAND), tmp_path / "out", ("md",), "")
    text = (tmp_path / "out" / "accuracy.md").read_text(encoding="utf-8")
    assert "75.0" in text
    assert "25.0" not in text


def test_a_plugin_s_table_comes_with_the_others(make_lab, tmp_path):
    (tmp_path / "count.py").write_text(PLUGIN)
    lab = make_lab(plugins=["count.py"])
    results, tables = make_tables(lab.plan, lab.store, COMMAND)
    assert {table.name for table in tables} == {"accuracy", "gpu_hours", "verdicts", "count"}
    write_report(results, tables, tmp_path / "out", ("csv",), "")
    assert (tmp_path / "out" / "count.csv").read_text() == "what,n\ncells,12\n"


def test_a_folder_that_cannot_be_written(lab, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write the report to .*; use another --report DIR"):
        write_report(*make_tables(lab.plan, lab.store, COMMAND), tmp_path / "file" / "out", ("md",), "")
