"""Planned suites and runs as they show themselves, on stores whose stages are finished by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.figure
import pytest
from PIL import Image

import benchbench as bb
from benchbench.errors import UnknownNameError
from benchbench.experiment import FORMATS, THEMES, Experiment
from benchbench.reports import figure
from benchbench.reports.plan_cells import COLUMNS
from tests.conftest import TINY
from tests.reports.conftest import Lab

MANY = {
    **TINY,
    "data": {f"a data set with a long name {n}": {"source": "cifar10_subset"} for n in range(3)},
    "arms": {f"an arm with a name of quite some length {n:03}": {"method": "scratch"} for n in range(60)},
    "teachers": {},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan() -> Experiment:
    return bb.plan(TINY, device="cpu", jobs=1)


@pytest.fixture
def lab(plan) -> Lab:
    """Finishes stages of the plan."""
    return Lab(plan.plan, plan.store)


class TestExperiment:
    def test_shows_the_grid_what_is_done_and_the_hours(self, plan, lab):
        lab.finish_arm("scratch", [0.5], [2.0])
        text = repr(plan)
        assert text.startswith("tiny: 4 cells in 5 stages, 1 done; on ")
        scratch, distil = (line for line in text.splitlines() if line.startswith(("scratch", "distil")))
        assert ("1/2" in scratch, "0/2" in distil) == (True, True)
        assert "data: cifar   students: small   seeds: [0, 1]" in text
        assert "still to run (predicted): not known yet" in text

    def test_hours_are_those_of_what_is_left(self, lab):
        alone = bb.plan({**TINY, "teachers": {}, "arms": {"scratch": TINY["arms"]["scratch"]}}, device="cpu", jobs=1)
        assert (alone.hours, alone.unit) == (None, "CPU-hours")
        cells = Lab(alone.plan, alone.store)
        for key in alone.plan.stages:
            cells.finish(key)
        assert alone.hours == 0

    def test_is_short_for_the_largest_suites(self):
        large = bb.plan(MANY, device="cpu")
        assert len(large.plan.cells) == 360
        assert len(repr(large).encode()) < 2000
        assert "and 48 more arms" in repr(large)
        assert large._repr_html_().count("<tr>") == 61

    def test_html_escapes(self, plan, lab):
        lab.fail(plan.plan.cells[0].stage, "<script>alert(1)</script>")
        assert "&lt;script&gt;" in plan._repr_html_()
        assert "<script>" not in plan._repr_html_()

    def test_cells(self, plan, lab):
        lab.finish_arm("scratch", [0.5], [2.0])
        cells = plan.cells
        assert tuple(cells.columns) == COLUMNS
        assert cells.state.tolist() == ["done", "to do", "to do", "to do"]
        assert cells.seed.tolist() == [0, 1, 0, 1]
        assert cells.key.tolist() == [cell.stage for cell in plan.plan.cells]
        assert cells.hours.dtype == float

    def test_the_command_of_its_report(self, tiny_suite, tmp_path):
        assert bb.plan("quickstart").report_command() == "benchbench report quickstart"
        options = {"device": "cpu", "jobs": 1, "data": "my data"}
        command = "benchbench report quickstart --data 'my data' --device cpu --jobs 1"
        assert bb.plan("quickstart", **options).report_command() == command
        path = tiny_suite(tmp_path / "a b")
        Path("mine.py").write_text("from benchbench import hookimpl\n")
        overrides = {"recipes.default.epochs": 3, "arms.scratch.recipe": {"lr": 0.1}}
        plan = bb.plan(path, seeds=[7], overrides=overrides, plugins="mine.py", store="results", device="cpu")
        assert plan.report_command("paper") == (
            f"benchbench report '{path}' --set recipes.default.epochs=3 --set 'arms.scratch.recipe={{\"lr\": 0.1}}' "
            "--set 'seeds=[7]' --plugin mine.py --store results "
            "--device cpu --template paper"
        )
        again = bb.plan(path, overrides=[each.argument for each in plan.plan.file.source.overrides], device="cpu")
        assert again.plan.key == plan.plan.key

    def test_of_a_dict_there_is_no_command(self, plan):
        assert plan.report_command() == "benchbench.report(plan), of a suite that is no file"


class TestRun:
    def test_shows_counts_the_answer_and_what_there_is(self, plan, lab):
        lab.finish_arm("scratch", [0.5, 0.6])
        lab.fail(plan.plan.cells[2].stage, "<b>no memory</b>")
        run = bb.report(plan)
        state, answer, tables, figures = repr(run).splitlines()
        assert state == "tiny: 4 cells: 2 done, 1 failed, 1 missing"
        assert answer == run.answer
        assert tables.startswith("<tables: accuracy, metrics, gpu_hours, ")
        assert figures.startswith("<figures: ")
        shown = run._repr_html_()
        assert f"failed: {plan.plan.stages[plan.plan.cells[2].stage].label}: &lt;b&gt;no memory&lt;/b&gt;" in shown
        assert run.tables["accuracy"]._repr_html_() in shown
        assert len(repr(run).encode()) < 2000

    def test_reasons_of_failures(self, plan, lab):
        key = plan.plan.cells[2].stage
        lab.fail(key, "no\nmemory")
        assert bb.report(plan).failed == {plan.plan.stages[key].label: "no memory"}

    def test_tables_and_figures_by_name(self, plan, lab):
        lab.finish_arm("scratch", [0.5, 0.6])
        run = bb.report(plan)
        assert run.tables["accuracy"].name == "accuracy"
        assert isinstance(run.figures["pareto"], matplotlib.figure.Figure)
        assert run.figures["pareto"] is run.figures["pareto"]
        assert set(run.figures) <= set(run.figures._ipython_key_completions_())
        assert len(run.figures) == len(list(run.figures))
        for mapping, name, suggestion in ((run.tables, "verdict", "verdicts"), (run.figures, "paretto", "pareto")):
            with pytest.raises(UnknownNameError, match=f"no (table|figure) '{name}'; did you mean '{suggestion}'"):
                mapping[name]

    def test_a_template_chooses(self, plan, lab):
        lab.finish_arm("scratch", [0.5, 0.6])
        assert "diagnosis" not in bb.report(plan, template="paper").tables.names
        assert "diagnosis" in bb.report(plan).tables.names
        with pytest.raises(bb.BenchBenchError, match="did you mean 'paper'"):
            bb.report(plan, template="papers")

    def test_a_dark_theme(self, plan, lab, tmp_path):
        lab.finish_arm("scratch", [0.5, 0.6])
        run = bb.report(plan)
        dark = run.with_theme("dark")
        assert dark.figures["pareto"].get_facecolor() != run.figures["pareto"].get_facecolor() == (1, 1, 1, 1)
        paths = dark.write(tmp_path / "dark", ["png"])
        with Image.open(next(path for path in paths if path.name == "pareto.png")) as picture:
            assert picture.convert("RGB").getpixel((0, 0)) == (13, 17, 23)
        with pytest.raises(UnknownNameError, match="no theme 'drak'; did you mean 'dark'"):
            run.with_theme("drak")
        assert THEMES == figure.THEMES

    def test_a_notebook_shows_figures(self, plan, lab, monkeypatch):
        """IPython prints a figure as text until pyplot is imported, or this is done."""
        asked = []
        formatter = SimpleNamespace(type_printers={})
        shell = SimpleNamespace(
            kernel=True, display_formatter=SimpleNamespace(formatters={"image/png": formatter}), asked=asked
        )
        tools = SimpleNamespace(select_figure_formats=lambda shell, formats: asked.append(formats))
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setitem(sys.modules, "IPython.core", SimpleNamespace(pylabtools=tools))
        monkeypatch.setitem(sys.modules, "IPython.core.pylabtools", tools)
        lab.finish_arm("scratch", [0.5, 0.6])
        figures = bb.report(plan).figures
        assert figures["pareto"]
        assert asked == [{"retina"}]
        formatter.type_printers[matplotlib.figure.Figure] = "the user's own"
        assert figures["pareto"]
        assert len(asked) == 1


class TestWrite:
    def test_what_is_asked_for(self, plan, lab):
        lab.finish_arm("scratch", [0.5, 0.6])
        names = {path.name for path in bb.report(plan).write(formats=["csv", "html"])}
        assert {"results.csv", "accuracy.csv", "report.html"} <= names
        assert not {"accuracy.md", "pareto.pdf"} & names
        assert Path("reports/tiny/accuracy.csv").is_file()

    @pytest.mark.parametrize("name", FORMATS)
    def test_one_format_by_its_name(self, plan, lab, name):
        lab.finish_arm("scratch", [0.5, 0.6])
        assert any(path.suffix == f".{name}" for path in bb.report(plan).write("folder", name))

    def test_nothing_where_nothing_is_done(self, plan):
        run = bb.report(plan)
        assert run.results.status.tolist() == ["missing"] * 4
        assert run.write("report") == []
        assert not Path("report").exists()
        assert not plan.store.root.exists()
        assert run.page("report").name == "report.html"  # it shows reasons and logs

    def test_into_the_home(self, plan, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert bb.report(plan).page("~/report") == tmp_path / "home/report/report.html"

    def test_an_unknown_format(self, plan):
        with pytest.raises(bb.BenchBenchError, match="unknown format 'docx'; there are md, tex, "):
            bb.report(plan).write("report", ["md", "docx"])

    def test_a_folder_that_cannot_be_written(self, plan, lab):
        lab.finish_arm("scratch", [0.5, 0.6])
        Path("file").touch()
        with pytest.raises(bb.BenchBenchError, match="cannot write the report to file"):
            bb.report(plan).write("file", ["csv"])
