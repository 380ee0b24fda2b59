"""`benchbench report`: what it prints and writes, of one suite and of several."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from PIL import Image

from benchbench import experiment
from benchbench.reports import templates
from benchbench.reports.figures import save
from benchbench.reports.render import RENDERERS
from benchbench.specs.records import Environment
from benchbench.store import StageState, Store
from tests.specs import training_record


@pytest.fixture
def suite(tiny_suite, tmp_path, monkeypatch) -> Path:
    """The tiny suite, beside which commands run: their store is `runs` there."""
    monkeypatch.chdir(tmp_path)
    tiny_suite(tmp_path)
    return Path("suite.yaml")


@pytest.fixture
def second(suite, tiny_suite, tmp_path) -> Path:
    """Another suite, of a single cell that the first one has too."""
    tiny_suite(tmp_path / "more", name="second", seeds=[0], arms={"alone": {"method": "scratch"}}, teachers=None)
    return Path("more/suite.yaml")


@pytest.fixture
def one_done(suite, plan_of) -> None:
    """The first cell's record, as a worker leaves it."""
    stage = plan_of(suite).cells[0].stage
    folder = Store(Path("runs")).stage("cell", stage)
    folder.path.mkdir(parents=True)
    environment = Environment(device="CPU", reference_seconds=0.0123)
    folder.write_record(training_record(environment=environment, weights_sha256="ab"))


class TestReport:
    def test_of_an_empty_store_overwrites_nothing(self, cli, suite):
        done = cli("report", suite, "--device", "cpu")
        assert done.code == 0
        assert "4 of 4 cells have not been run; benchbench run suite.yaml" in done.out
        assert done.err == "no cell is done, so no tables are written\n"
        assert not Path("reports").exists()

    def test_the_command_for_the_missing_cells_has_the_options_of_this_one(self, cli, suite):
        done = cli("report", suite, "--device", "cpu", "--store", "a b", "--set", "recipes.default.epochs=2")
        assert "run; benchbench run suite.yaml --set recipes.default.epochs=2 --store 'a b' --device cpu" in done.out

    def test_formats_and_folder(self, cli, suite, one_done):
        cli("report", suite, "--format", "txt", "--format", "csv", "--report", "out")
        tables = {
            f"{name}.{kind}"
            for name in ("accuracy", "gpu_hours", "foundations", "resources")
            for kind in ("txt", "csv")
        }
        assert {path.name for path in Path("out").iterdir()} == {*tables, "results.csv", "COMMAND"}
        made = Path("out/COMMAND").read_text()
        assert made == f"benchbench report {suite}\n"
        assert f"made by: {made}" in Path("out/accuracy.txt").read_text()

    def test_json(self, cli, suite):
        printed = json.loads(cli("report", suite, "--json").out)
        assert printed["answers"] == {"tiny": "No cell is done, so there is no answer: 4 not run yet, of 4 cells."}
        rows = printed["cells"]
        assert {row["suite"] for row in rows} == {"tiny"}
        assert [(row["row"], row["seed"], row["status"]) for row in rows] == [
            ("scratch", 0, "missing"),
            ("scratch", 1, "missing"),
            ("distil, big (scratch)", 0, "missing"),
            ("distil, big (scratch)", 1, "missing"),
        ]

    def test_failures_and_their_reasons(self, cli, suite, plan_of):
        cell = plan_of(suite).cells[0]
        folder = Store(Path("runs")).stage("cell", cell.stage)
        folder.path.mkdir(parents=True)
        folder.write_state(StageState(status="failed", reason="out of memory"))
        done = cli("report", suite)
        assert "failed: scratch | cifar | small | seed 0: out of memory" in done.out
        assert "3 of 4 cells have not been run" in done.out

    def test_a_run_that_would_replace_its_owner_s_files_does_not_begin(self, cli, suite):
        Path("README.md").write_text("mine")
        done = cli("run", suite, "--report", ".")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "README.md is not of a report and would be replaced; use another --report DIR" in done.err
        assert Path("README.md").read_text() == "mine"
        assert not list(Path("runs").glob("*/*/record.json"))

    def test_damaged_record(self, cli, suite, plan_of):
        folder = Store(Path("runs")).stage("cell", plan_of(suite).cells[0].stage)
        folder.path.mkdir(parents=True)
        folder.record.write_text('{"metrics": {')
        done = cli("report", suite)
        assert done.code == 0
        assert f"failed: scratch | cifar | small | seed 0: {folder.record} cannot be read" in done.out
        assert "3 of 4 cells have not been run" in done.out

    @pytest.mark.parametrize("command", ["plan", "report", "watch", "run"])
    def test_losses_that_cannot_work_are_refused_by_every_command(self, cli, suite, command):
        with socket.socket() as other:  # its port is taken: `watch` ends in any case
            other.bind(("127.0.0.1", 0))
            port = ["--port", other.getsockname()[1]] if command == "watch" else []
            done = cli(command, suite, "--set", "arms.distil.loss={ce: 1, deit: 1}", *port)
        assert (done.code, done.out) == (2, "")
        problem = "error: --set arms.distil.loss: loss 'deit' needs a student with a distillation token"
        assert done.err.startswith(problem)
        assert done.err.count("\n") == 1
        assert not Path("runs").exists()

    def test_a_folder_that_cannot_be_written(self, cli, suite, one_done):
        done = cli("report", suite, "--report", "suite.yaml/out", "--format", "csv")
        assert done.code == 2
        assert "error: cannot write the report to suite.yaml/out (" in done.err
        assert "Test accuracy" in done.out  # printed all the same

    @pytest.mark.whole_run
    def test_figures_and_a_front_page_come_with_the_tables(self, cli, suite, one_done):
        """The page has the answer, and leads to the rest."""
        done = cli("report", suite)
        folder = Path("reports/tiny")
        written = {path.name for path in folder.iterdir()}
        assert {"pareto.pdf", "pareto.png", "tables.tex", "figures.tex", "figures.md"} <= written
        assert done.err.startswith("written to reports/tiny: ")
        assert self.ground(folder / "pareto.png") == (255, 255, 255)
        page = (folder / "README.md").read_text(encoding="utf-8")
        answer = done.out.splitlines()[0]
        assert page.startswith(f"# tiny\n\n{answer}\n\n![Test accuracy against device-hours](pareto.png)\n\n**Test acc")
        links = set(re.findall(r"\]\(([^)]+)\)", page))
        assert {"pareto.png", "accuracy.md", "resources.md", "results.csv", "macros.tex", "figures.md"} <= links
        assert all((folder / link).exists() for link in links)

    def test_a_dark_theme(self, cli, suite, one_done):
        options = ("--template", "paper", "--format", "png", "--theme", "dark", "--report", "dark")
        assert cli("report", suite, *options).code == 0
        assert self.ground(Path("dark/pareto.png")) == (13, 17, 23)

    def ground(self, picture: Path) -> tuple[int, ...]:
        """Red, green and blue of a picture's corner."""
        with Image.open(picture) as image:
            return image.convert("RGB").getpixel((0, 0))

    def test_a_template(self, cli, suite, one_done):
        done = cli("report", suite, "--template", "paper", "--format", "md", "--format", "png")
        assert "made by: benchbench report suite.yaml --template paper" in Path("reports/tiny/accuracy.md").read_text()
        assert "with their notes: benchbench report suite.yaml --template paper --tables all" in done.out
        assert Path("reports/tiny/pareto.png").exists()
        assert not Path("reports/tiny/costs.png").exists()

    def test_formats_are_those_that_there_are(self):
        assert set(experiment.FORMATS) == {*RENDERERS, *save.FORMATS, experiment.PAGE}
        assert experiment.DEFAULT_TEMPLATE == templates.DEFAULT


class TestTables:
    """The printed report: the answer and two tables in brief, or the tables that are named with their notes."""

    def test_in_brief(self, cli, suite, one_done):
        lines = cli("report", suite, "--format", "csv").out.splitlines()
        assert lines[0].startswith("On cifar (40 training images) with small, scratch reached 50.0 % (n=1) for 1.00")
        titles = [line for line in lines if line.endswith(" of tiny")]
        assert titles == ["Test accuracy (%) of tiny", "CPU-hours of one run of tiny"]
        (columns,) = (line.split("  ") for line in lines if line.startswith("arm") and "own" in line)
        assert [name.strip() for name in columns if name] == [
            "arm",
            "own",
            "with stages",
            "pre-training (est.)",
            "total",
        ]
        assert not any(line.startswith("suite key") for line in lines)
        assert lines[-3] == "speed of the machine: one reference step takes 12.3 ms on CPU"
        assert lines[-2] == "all 4 tables, with their notes: benchbench report suite.yaml --tables all"

    def test_all(self, cli, suite, one_done):
        done = cli("report", suite, "--format", "csv", "--tables", "all").out
        for name in ("Test accuracy (%)", "CPU-hours of one run", "Stages that one run", "Resources of one run"):
            assert f"{name} of tiny" in done or f"{name} of tiny needs" in done
        assert done.count("made by: benchbench report suite.yaml") == 4
        assert "--tables all" not in done

    def test_some_by_name(self, cli, suite, one_done):
        done = cli("report", suite, "--format", "csv", "--tables", "resources, verdicts").out
        assert "Resources of one run of tiny" in done
        assert "Test accuracy (%)" not in done
        assert "table 'verdicts' has nothing to show here" in done

    def test_one_that_there_is_not(self, cli, suite, one_done):
        done = cli("report", suite, "--tables", "acuracy")
        assert (done.code, done.out) == (2, "")
        assert "error: template 'full' has no table 'acuracy'; did you mean 'accuracy'?" in done.err
        assert not Path("reports").exists()


class TestSeveralSuites:
    def test_each_has_its_tables_and_its_folder(self, cli, suite, second, one_done):
        done = cli("report", suite, second, "--format", "csv")
        assert done.code == 0
        assert "Test accuracy (%) of tiny" in done.out
        assert "Test accuracy (%) of second" in done.out
        assert "benchbench report more/suite.yaml --tables all\n" in done.out
        for name, cells in (("tiny", 4), ("second", 1)):
            rows = Path(f"reports/{name}/results.csv").read_text().splitlines()
            assert len(rows) == 1 + cells

    def test_they_go_side_by_side_into_a_folder_that_is_named(self, cli, suite, second, one_done):
        cli("report", suite, second, "--format", "csv", "--report", "out")
        assert sorted(path.name for path in Path("out").iterdir()) == ["second", "tiny"]

    def test_json(self, cli, suite, second):
        printed = json.loads(cli("report", suite, second, "--json").out)
        assert list(printed["answers"]) == ["tiny", "second"]
        rows = printed["cells"]
        assert [row["suite"] for row in rows] == ["tiny"] * 4 + ["second"]

    def test_nothing_is_printed_before_all_are_read(self, cli, suite, second, one_done):
        second.write_text(second.read_text().replace("seeds:", "sedes:"))
        done = cli("report", suite, second)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: more/suite.yaml:2: sedes: unknown key")
        assert not Path("reports").exists()

    def test_overrides_count_for_each(self, cli, suite, second):
        rows = json.loads(cli("report", suite, second, "--json", "--set", "seeds=[7]").out)["cells"]
        assert {row["seed"] for row in rows} == {7}
