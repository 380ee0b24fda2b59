"""Reports on disk: every table in every format, the long form, and the command that made them."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.figure
import pandas as pd
import pytest

from benchbench.errors import BenchBenchError, StoreError
from benchbench.reports.columns import COLUMNS
from benchbench.reports.figure import Figure
from benchbench.reports.footer import footer
from benchbench.reports.report import make_report
from benchbench.reports.results import readable
from benchbench.reports.templates import FIRST, THEN, template_names
from benchbench.reports.write import further_files, write_report

PLUGIN = """
from benchbench import Component, hookimpl
from benchbench.reports.table import Entry, Table

@hookimpl
def benchbench_reports():
    yield Component("count", __name__ + ":count")

def count(results, plan):
    return Table("count", "How many", ["what", "n"], [[Entry("cells"), Entry(str(len(results)))]])
"""

TEMPLATES = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_templates():
    for name in ("mine", "wrong", "broken"):
        yield Component(name, f"{__name__}:{name}")

def mine(offered):
    return ["gpu_hours", "costs", "accuracy"]

def wrong(offered):
    return ["acuracy"]

def broken(offered):
    return 1 / 0
"""

COMMAND = "benchbench report suites/tiny.yaml --set 'seeds=[0]'"


def test_every_table_in_every_format(finished, tmp_path):
    report = make_report(finished.plan, finished.store, "benchbench report 'a b.yaml'")
    folder = tmp_path / "deep" / "reports"
    paths = write_report(report, folder, ("md", "tex", "csv", "txt"))
    names = {
        f"{table}.{kind}"
        for table in (
            *("accuracy", "gpu_hours", "foundations", "resources"),
            *("verdicts", "savings", "break_even", "diagnosis"),
        )
        for kind in ("md", "tex", "csv", "txt")
    }
    assert {path.name for path in paths} == {path.name for path in folder.iterdir()}
    assert {path.name for path in paths} == {*names, "README.md", "results.csv", "COMMAND"}
    assert (folder / "COMMAND").read_text() == "benchbench report 'a b.yaml'\n"
    assert "66.7 ± 20.8 (n=3)" in (folder / "accuracy.md").read_text(encoding="utf-8")
    assert r"scratch & \bfseries 66.7 & \bfseries $\pm$ 20.8 \\" in (folder / "accuracy.tex").read_text()
    assert r"probe & 40.0 & $\pm$ 0.0 \\" in (folder / "accuracy.tex").read_text()


def test_every_table_and_figure_says_what_made_it(finished):
    report = make_report(finished.plan, finished.store, COMMAND)
    for each in (*report.tables, report.figure_by_name["costs"]):  # a figure as any other gets its notes
        assert each.notes[-2] == "3 seeds per cell; tested: the last epoch, on Big GPU"
        assert each.notes[-1] == f"suite key {finished.plan.key[:16]}; made by: {COMMAND}"


def test_the_rule_of_selection_in_words(make_lab):
    lab = make_lab("selection={rule: best, validation: 0.25}", "seeds=[3]")
    notes = footer(lab.frame(), lab.plan, COMMAND)
    assert notes[0] == "1 seed per cell; tested: best epoch on a validation split of 25%, on a processor"


def test_results_read_back_with_pandas(finished, tmp_path):
    finished.fail(finished.cells("scratch")[0].stage, 'a "quoted", comma\nand line')
    finished.folder(finished.cells("scratch")[0].stage).record.unlink()
    report = make_report(finished.plan, finished.store, COMMAND)
    write_report(report, tmp_path / "out", ("md",))
    frame = pd.read_csv(tmp_path / "out" / "results.csv")
    assert (
        list(frame.columns)
        == [name for name in COLUMNS if name != "test_correct"]
        == list(readable(report.results).columns)
    )
    assert list(frame.key) == [cell.stage for cell in finished.plan.cells]
    assert list(frame.status) == ["failed"] + ["done"] * 11
    assert frame.reason[0] == 'a "quoted", comma\nand line'
    for column in ("accuracy", "own_hours", "shared_stage_hours", "pretraining_hours", "teacher_accuracy"):
        pd.testing.assert_series_equal(frame[column], report.results[column].astype(float), check_exact=True)
    assert frame[frame.arm == "tune"].accuracy.mean() == pytest.approx(0.8)


def test_the_same_results_give_the_same_bytes(finished, tmp_path):
    for name in ("one", "two"):
        report = make_report(finished.plan, finished.store, COMMAND)
        write_report(report, tmp_path / name, ("md", "tex", "csv", "txt"))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_second_report_replaces_the_first(lab, tmp_path):
    for accuracy in (0.25, 0.75):
        lab.finish_arm("scratch", [accuracy])
        write_report(make_report(lab.plan, lab.store, COMMAND), tmp_path / "out", ("md",))
    text = (tmp_path / "out" / "accuracy.md").read_text(encoding="utf-8")
    assert "75.0" in text
    assert "25.0" not in text


class TestOneReport:
    """A folder holds one report, and what its owner puts there."""

    @pytest.fixture
    def write(self, finished, tmp_path):
        report = make_report(finished.plan, finished.store, COMMAND)  # its tables are made once for all files

        def write(*formats: str, further: dict[str, bytes] | None = None) -> set[str]:
            write_report(report, tmp_path / "out", formats, further)
            return {path.name for path in (tmp_path / "out").iterdir()}

        return write

    def test_files_of_an_earlier_one_go(self, write, tmp_path):
        first = write("md", "csv", further={"mine.csv": b"of a plugin", "pareto.png": b"a figure"})
        assert {"mine.csv", "pareto.png", "README.md", "accuracy.md"} <= first
        assert write("csv") == {name for name in first if name.endswith(".csv") and name != "mine.csv"} | {"COMMAND"}

    def test_files_of_its_owner_stay(self, write, tmp_path):
        write("md", "tex")
        (tmp_path / "out" / "notes.md").write_text("suite key 0123456789abcdef; made by: benchbench report")
        (tmp_path / "out" / "accuracy-1.md").write_bytes((tmp_path / "out" / "accuracy.md").read_bytes())
        (tmp_path / "out" / "pareto.png").write_bytes(b"a drawing")
        (tmp_path / "out" / "tables.tex").write_text("changed by hand")
        (tmp_path / "out" / "figures").mkdir()
        assert {"notes.md", "accuracy-1.md", "pareto.png", "tables.tex", "figures"} <= write("csv")
        assert (tmp_path / "out" / "tables.tex").read_text() == "changed by hand"

    def test_without_a_list_of_the_files_names_tell(self, write, tmp_path, monkeypatch):
        write("md", "txt", further={"report.html": b"page"})
        (tmp_path / "out" / "notes.md").write_text("mine")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user"))
        names = write("csv")
        assert {name for name in names if not name.endswith(".csv")} == {"COMMAND", "notes.md"}

    @pytest.mark.parametrize("content", ["[", "[1]", "[" * 100_000, '{"../precious": "x", "": "y", "..": "z"}'])
    def test_a_damaged_list_removes_nothing_of_others(self, write, tmp_path, content):
        write("md")
        (tmp_path / "precious").write_text("mine")
        (file,) = Path(os.environ["XDG_CACHE_HOME"], "benchbench", "reports").glob("*.json")
        file.write_text(content)
        write("csv")
        assert (tmp_path / "precious").read_text() == "mine"

    def test_files_of_no_report_are_not_replaced(self, write, tmp_path):
        readme = tmp_path / "out" / "README.md"
        readme.parent.mkdir()
        readme.write_text("my project")
        with pytest.raises(StoreError, match=r"README\.md is not of a report and would be replaced; use another --rep"):
            write("md")
        assert [path.read_text() for path in readme.parent.iterdir()] == ["my project"]

    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_whole_numbers_stay_whole_where_a_cell_is_missing(lab, tmp_path):
    lab.finish_arm("scratch", [0.5])
    write_report(make_report(lab.plan, lab.store, COMMAND), tmp_path / "out", ("csv",))
    done, missing, *_ = csv.DictReader((tmp_path / "out" / "results.csv").open())
    assert {name: done[name] for name in ("seed", "chosen_epoch", "test_images", "train_images", "cohort")} == {
        "seed": "0",
        "chosen_epoch": "1",
        "test_images": "1000",
        "train_images": "40",
        "cohort": "1",
    }
    assert (done["flops"], done["parameters"], done["peak_bytes"]) == ("4000000000", "123", "500000000")
    assert (missing["seed"], missing["flops"]) == ("1", "")


def test_names_that_a_terminal_obeys_are_shown_in_the_results(lab, tmp_path):
    lab.fail(lab.cells("scratch")[0].stage, "an \x1b[31m error \u202e\nof two lines")
    write_report(make_report(lab.plan, lab.store, COMMAND), tmp_path / "out", ("csv",))
    text = (tmp_path / "out" / "results.csv").read_text()
    assert "an \\x1b[31m error \\u202e\nof two lines" in text


def test_a_plugin_s_table_comes_with_the_others(make_lab, tmp_path):
    (tmp_path / "count.py").write_text(PLUGIN)
    lab = make_lab(plugins=["count.py"])
    report = make_report(lab.plan, lab.store, COMMAND)
    assert {table.name for table in report.tables} == {"accuracy", "gpu_hours", "verdicts", "savings", "count"}
    write_report(report, tmp_path / "out", ("csv",))
    assert (tmp_path / "out" / "count.csv").read_text() == "what,n\ncells,12\n"


@pytest.mark.whole_run
def test_figures_and_what_latex_inputs(finished, tmp_path):
    report = make_report(finished.plan, finished.store, COMMAND)
    figures = report.figures
    assert [figure.name for figure in figures] == ["break_even", "pareto", "costs"]  # no curves, no fractions
    formats = ("md", "tex", "pdf", "png", "csv")
    further = further_files(report, figures, formats)
    figures_of_all = {f"{name}.{kind}" for name in ("pareto", "break_even", "costs") for kind in ("pdf", "png")}
    assert set(further) == {*figures_of_all, "tables.tex", "macros.tex", "figures.tex", "figures.md"}
    paths = write_report(report, tmp_path / "out", formats, further)
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "out").iterdir()} >= set(further)
    inputs = (tmp_path / "out" / "tables.tex").read_text()
    assert re.findall(r"benchbenchfolder/(\w+)\}", inputs) == [table.name for table in report.tables]


@pytest.mark.parametrize(
    ("formats", "names"),
    [
        (("md", "csv"), set()),
        (("tex",), {"tables.tex", "macros.tex"}),
        (("png",), {"pareto.png", "costs.png"}),
        (("pdf", "md"), {"pareto.pdf", "costs.pdf"}),
    ],
)
def test_only_the_formats_that_are_asked_for(finished, formats, names, monkeypatch):
    """Their content takes its time, and is looked at in other tests."""
    monkeypatch.setattr("benchbench.reports.write.figure_bytes", lambda figure, kind: kind.encode())
    report = make_report(finished.plan, finished.store, COMMAND)
    figures = [Figure(name, f"Of {name}", matplotlib.figure.Figure()) for name in ("pareto", "costs")]
    assert set(further_files(report, figures, formats)) == names


def test_a_template_chooses_and_orders(make_lab, tmp_path):
    (tmp_path / "mine.py").write_text(TEMPLATES)
    lab = make_lab(plugins=["mine.py"])
    lab.finish_arm("scratch", [0.5])
    report = make_report(lab.plan, lab.store, COMMAND, "mine")
    assert [table.name for table in report.tables] == ["gpu_hours", "accuracy"]
    assert [each.name for each in report.figures] == ["costs"]
    for template, message in (
        ("wrong", r"template 'wrong' names 'acuracy', which is no report and no figure; did you mean 'accuracy'\?"),
        ("broken", r"template 'broken' does not work: ZeroDivisionError"),
        ("papr", r"unknown template 'papr'; did you mean 'paper'\?"),
    ):
        with pytest.raises(BenchBenchError, match=message):
            make_report(lab.plan, lab.store, COMMAND, template)


def test_what_a_paper_prints_is_there(finished):
    """Every name of the template is a report or a figure: a slip would leave a table out."""
    registry = finished.plan.registry
    assert template_names(registry, "paper") == [*FIRST, *THEN]
    assert template_names(registry, "full") == list(
        dict.fromkeys([*registry.offers["report"], *registry.offers["figure"]])
    )


def test_a_broken_figure_costs_itself_alone(finished, capsys, monkeypatch):
    monkeypatch.setattr("benchbench.reports.figures.pareto.points", lambda frame: 1 / 0)
    figures = make_report(finished.plan, finished.store, COMMAND).figures
    assert [figure.name for figure in figures] == ["break_even", "costs"]
    assert capsys.readouterr().err == "warning: no figure 'pareto': ZeroDivisionError: division by zero\n"


def test_a_folder_that_cannot_be_written(lab, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write the report to .*; use another --report DIR"):
        write_report(make_report(lab.plan, lab.store, COMMAND), tmp_path / "file" / "out", ("md",))


def test_figures_of_many_panels_show_the_first_ones_and_say_so(finished, monkeypatch):
    monkeypatch.setattr("benchbench.reports.report.PANELS", 1)
    report = make_report(finished.plan, finished.store, COMMAND)
    more = pd.concat([report.results, report.results.assign(student="another")], ignore_index=True)
    figure = replace(report, results=more).figure_by_name["costs"]
    assert len(figure.figure.axes) == 1
    assert any(note.startswith("drawn: the first 1 of 2 pairs of data set and student") for note in figure.notes)
    assert not any(note.startswith("drawn:") for note in report.figure_by_name["costs"].notes)
