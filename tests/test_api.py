"""The library: the same plan, run and report as the command line, as functions."""

from __future__ import annotations

import contextlib
import copy
import doctest
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import matplotlib.figure
import pandas as pd
import pytest
import torch

import benchbench as bb
from benchbench import api, hookimpl
from benchbench.errors import StoreError, SuiteError
from benchbench.experiment import Experiment, Run
from benchbench.suite.file import SuiteFile
from tests import networks
from tests.conftest import TINY
from tests.images import source, write_images
from tests.running.commands import on_one_core

SCRATCH = {**TINY, "seeds": [0], "arms": {"scratch": {"method": "scratch"}}, "teachers": {}}


class Listener:
    """Keys of the stages that finish."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    @hookimpl
    def benchbench_stage_finished(self, stage):
        self.keys.append(stage.key)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@contextlib.contextmanager
def in_this_process() -> Iterator[None]:
    """Keeps work on one core, and asks about networks here, where torch is imported already."""
    here = SimpleNamespace(run=networks.in_this_process)
    with mock.patch("benchbench.costs.flops.subprocess", here), on_one_core():
        yield


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> dict[str, Any]:
    """Parts of a suite whose images are few and small."""
    images = write_images(tmp_path_factory.mktemp("images") / "few", train=4)
    recipe = TINY["recipes"]["default"] | {"image_size": 16}
    return {"data": {"few": {"source": source(images)}}, "recipes": {"default": recipe}}


@pytest.fixture
def scratch(few) -> dict[str, Any]:
    """A suite of one cell."""
    return {**SCRATCH, **few}


@pytest.fixture
def plan(scratch) -> Iterator[Experiment]:
    """A plan of one cell."""
    with in_this_process():
        yield bb.plan(scratch, executor="inline", device="cpu")


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory) -> Run:
    """A run of a suite of two arms and two seeds, in a folder of its own."""
    folder = tmp_path_factory.mktemp("finished")
    with in_this_process():
        experiment = bb.plan({**TINY, **few}, store=folder / "runs", data=folder / "data", device="cpu", jobs=1)
        return bb.run(experiment, executor="inline")


class TestLoadSuite:
    def test_every_form(self, tiny_suite, tmp_path):
        path = tiny_suite(tmp_path)
        text = path.read_text()
        loaded = [bb.load_suite(each) for each in (path, str(path), "suite.yaml", text, TINY)]
        assert [each.suite.name for each in loaded] == ["tiny"] * 5
        assert len({each.suite.model_dump_json() for each in loaded}) == 1
        assert bb.load_suite(loaded[0]) is loaded[0]

    def test_one_that_ships(self):
        assert bb.load_suite("quickstart").suite.name == "quickstart"

    @pytest.mark.parametrize(
        "overrides", [{"recipes.default.epochs": 5}, ["recipes.default.epochs=5"], "recipes.default.epochs=5"]
    )
    def test_overrides(self, overrides):
        content = copy.deepcopy(TINY)
        suite = bb.load_suite(content)
        assert bb.load_suite(content, overrides).suite.recipes.default.epochs == 5
        assert bb.load_suite(suite, overrides).suite.recipes.default.epochs == 5
        assert (suite.suite.recipes.default.epochs, content) == (1, TINY)

    @pytest.mark.parametrize(
        ("suite", "overrides", "message"),
        [
            ("quikstart", (), "no suite 'quikstart' ships; did you mean 'quickstart'?"),
            ("missing.yaml", (), "suite file missing.yaml does not exist"),
            (3, (), "a suite is a name, a path, YAML text or a dict, and not int"),
            ({**TINY, "sedes": [0]}, (), "sedes: unknown key 'sedes'; did you mean 'seeds'?"),
            ("name: tiny\nsedes: [0]\n", (), "YAML text:2: sedes: unknown key 'sedes'; did you mean 'seeds'?"),
            (TINY, {"recipes.default.epoch": 5}, "override recipes.default.epoch: recipes.default.epoch: unknown key"),
            (TINY, ["seeds"], "--set seeds: write KEY=VALUE"),
        ],
    )
    def test_bad_input_is_one_line(self, suite, overrides, message):
        with pytest.raises(bb.BenchBenchError) as caught:
            bb.load_suite(suite, overrides)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


class TestPlan:
    def test_keywords(self):
        plan = bb.plan(
            TINY, store="elsewhere", seeds=range(3, 5), overrides={"recipes.default.epochs": 2}, device="cpu"
        )
        assert plan.name == "tiny"
        assert [cell.seed for cell in plan.plan.cells] == [3, 4] * 2
        assert plan.store.root == Path("elsewhere")
        assert plan.plan.suite.recipes.default.epochs == 2
        assert not any(Path().iterdir())  # nothing is written

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"overrides": ["sedes=[0]"]}, SuiteError, "did you mean 'seeds'"),
            ({"seeds": 3}, SuiteError, "argument seeds: seeds: write a list"),
            ({"seeds": ["a"]}, SuiteError, "argument seeds: seeds.0: "),
            ({"executor": "inlin"}, SuiteError, "unknown executor 'inlin'; did you mean 'inline'"),
            ({"executor": "inline", "jobs": 2}, bb.BenchBenchError, "'inline' runs one stage at a time"),
            ({"device": "tpu"}, bb.BenchBenchError, "tpu"),
            ({"plugins": "nowhere.py"}, bb.BenchBenchError, "nowhere.py does not exist"),
        ],
    )
    def test_bad_input(self, options, error, message):
        with pytest.raises(error, match=message):
            bb.plan(SCRATCH, **options)

    def test_paths_in_the_home(self, tiny_suite, tmp_path, monkeypatch):
        home = tmp_path / "home"
        monkeypatch.setenv("HOME", str(home))
        tiny_suite(home)
        (home / "mine.py").write_text("from benchbench import hookimpl\n")
        plan = bb.plan("~/suite.yaml", store="~/runs", data="~/data", plugins="~/mine.py", device="cpu")
        assert (plan.store.root, plan.data_root, plan.plugins) == (home / "runs", home / "data", (home / "mine.py",))
        with pytest.raises(bb.BenchBenchError, match=f"^{home}/nowhere.csv does not exist"):
            bb.load_results("~/nowhere.csv")

    @pytest.mark.parametrize("option", ["store", "data", "plugins"])
    def test_a_name_that_is_no_utf8(self, option):
        """Workers could not be told of it."""
        message = rf"^the name of .*caf\\udce9 is no UTF-8; rename it, or give another --{option.removesuffix('s')}$"
        with pytest.raises(bb.BenchBenchError, match=message):
            bb.plan(SCRATCH, **{option: os.fsdecode(b"caf\xe9")})

    def test_a_working_folder_whose_name_is_no_utf8(self, monkeypatch):
        folder = os.fsdecode(b"caf\xe9")
        os.mkdir(folder)
        monkeypatch.chdir(folder)
        with pytest.raises(bb.BenchBenchError, match=r"caf\\udce9/runs is no UTF-8; rename it"):
            bb.plan(SCRATCH)

    def test_an_unknown_component_of_a_dict_is_named_with_its_keys(self):
        arms = {"a": {"method": "distill", "loss": {"kdd": 1}}}
        with pytest.raises(SuiteError, match=r"^arms\.a\.loss\.kdd: unknown loss 'kdd'; did you mean 'kd'\?$"):
            bb.plan({**TINY, "arms": arms}, device="cpu")

    def test_imports_nothing_heavy(self, tiny_suite, tmp_path, python):
        code = (
            "import sys\nimport benchbench as bb\nrepr(bb.plan(sys.argv[1], store=sys.argv[2], device='cpu'))\n"
            "print(sorted({'torch', 'pandas', 'PIL', 'matplotlib', 'IPython'} & set(sys.modules)))"
        )
        assert python("-c", code, tiny_suite(tmp_path), tmp_path / "runs").out.strip() == "[]"


@pytest.mark.whole_run
class TestRun:
    def test_a_session(self, plan):
        """The session of the README."""
        (key,) = plan.plan.stages
        assert api.estimate(plan)[key].images == 40
        listener = Listener()
        run = bb.run(plan, store="results", listeners=[listener])
        assert (run.outcome.ran, run.failed, listener.keys) == ([key], {}, [key])
        assert run.experiment.store.root == Path("results")
        assert isinstance(run.results, pd.DataFrame)
        assert run.results.status.tolist() == ["done"]
        assert run.tables["accuracy"].to_dataframe().arm.tolist() == ["scratch"]
        assert isinstance(run.figures["pareto"], matplotlib.figure.Figure)
        student, classes = bb.load_trained(run.results.key[0], store="results")
        logits = student(torch.rand(2, 3, 16, 16)).logits
        assert (logits.shape, len(classes)) == ((2, 10), 10)
        again = bb.run(plan, store="results", listeners=[listener])
        assert (again.outcome.reused, listener.keys) == ([key], [key])
        assert not plan.host.manager.is_registered(listener)  # the listener of a run hears of no other's
        assert not Path("runs").exists()

    def test_ctrl_c_leaves_checkpoints(self, plan, scratch):
        class Impatient:
            @hookimpl
            def benchbench_progress(self, progress):
                if progress.epoch == 2:
                    os.kill(os.getpid(), signal.SIGINT)

        longer = bb.plan(scratch, overrides={"recipes.default.epochs": 3}, executor="inline", device="cpu")
        (key,) = longer.plan.stages
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        try:
            with pytest.raises(KeyboardInterrupt):
                bb.run(longer, checkpoint_seconds=0, listeners=[Impatient()])
        finally:
            signal.signal(signal.SIGINT, before)
        assert longer.store.stage("cell", key).checkpoint.exists()
        assert longer.cells.state.tolist() == ["started"]
        run = bb.run(longer)
        assert (run.outcome.ran, run.results.status.tolist()) == ([key], ["done"])

    def test_a_failed_stage_has_its_reason(self, plan, scratch):
        Path("broken.py").write_text(
            "from benchbench import Component, hookimpl\n"
            "@hookimpl\ndef benchbench_losses():\n    yield Component('broken', __name__ + ':make')\n"
            "def make(student, teacher, batch):\n    raise ValueError('no such thing')\n"
        )
        arms = {"broken": {"method": "scratch", "loss": {"ce": 1, "broken": 1}}}
        experiment = bb.plan({**scratch, "arms": arms}, plugins=["broken.py"], executor="inline", device="cpu")
        run = bb.run(experiment)
        (label,) = run.failed
        assert "broken" in label
        assert "no such thing" in run.failed[label]
        assert bb.report(experiment).failed == run.failed
        assert "1 failed" in repr(run)

    def test_progress_is_shown_where_it_is_wanted(self, plan, capsys):
        bb.run(plan)
        assert capsys.readouterr().err == ""
        bb.run(plan, progress=True)
        assert capsys.readouterr().err.startswith("tiny: 1 cells, 1 stages, 1 done; on ")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"template": "papers"}, "did you mean 'paper'"),
            ({"executor": "inlin"}, "unknown executor 'inlin'; did you mean 'inline'"),
            ({"store": "a_file"}, "store a_file is a file"),
        ],
    )
    def test_bad_input(self, plan, options, message):
        Path("a_file").touch()
        with pytest.raises(bb.BenchBenchError, match=message):
            bb.run(plan, **options)

    @pytest.mark.parametrize("function", [bb.run, bb.report])
    def test_a_suite_has_to_be_planned_first(self, function):
        with pytest.raises(bb.BenchBenchError, match=r"what benchbench\.plan\(suite\) gives, and not dict"):
            function(TINY)


@pytest.mark.whole_run
class TestResults:
    def test_of_a_plan_a_suite_and_a_file(self, finished, few):
        paths = finished.write("report", ["csv"])
        store = finished.experiment.store.root
        kept = ["row", "data", "student", "seed", "status", "accuracy", "key"]
        for given, options in (
            (finished.experiment, {}),
            ({**TINY, **few}, {"store": store}),
            (next(path for path in paths if path.name == "results.csv"), {}),
        ):
            loaded = bb.load_results(given, **options)
            pd.testing.assert_frame_equal(loaded[kept], finished.results[kept], check_dtype=False)

    def test_of_what_is_not_there(self):
        assert bb.load_results(TINY, store="nowhere").status.tolist() == ["missing"] * 4
        with pytest.raises(bb.BenchBenchError, match=r"nowhere\.csv does not exist"):
            bb.load_results("nowhere.csv")

    @pytest.mark.parametrize("whole", [True, False])
    def test_a_trained_network_by_key_beginning_and_folder(self, finished, whole):
        store, key = finished.experiment.store, finished.results.key[0]
        folder = store.stage("cell", key).path
        networks = [
            bb.load_trained(key if whole else key[:10], store=store.root)[0],
            bb.load_trained(folder)[0],
            bb.load_trained(str(folder))[0],
        ]
        images = torch.rand(1, 3, 16, 16)
        first, *others = (network(images).logits for network in networks)
        assert all(torch.equal(first, other) for other in others)

    @pytest.mark.parametrize("cell", ["abc", "runs/cell/abc", ""])
    def test_a_network_that_is_not_there(self, cell):
        with pytest.raises(StoreError, match="no finished training in store runs"):
            bb.load_trained(cell)

    def test_compare(self, finished, few, tiny_suite, tmp_path):
        comparison = bb.compare(finished, finished.experiment)
        assert [each.verdict for each in comparison.differences] == ["identical", "identical"]
        assert (comparison.a, comparison.shared) == (f"tiny@{finished.experiment.store.root}", 4)
        assert list(comparison.tables) == ["changes", "differences"] or list(comparison.tables) == ["differences"]
        assert repr(comparison).endswith("2 rows on both sides: 2 are identical")
        assert comparison._repr_html_().count("<table>") == len(comparison.tables)
        by_name = bb.compare(f"{tiny_suite(tmp_path, **few)}@{finished.experiment.store.root}", finished)
        assert by_name.differences == comparison.differences
        with pytest.raises(bb.BenchBenchError, match="nowhere"):
            bb.compare("nowhere", finished)


@pytest.mark.whole_run
def test_the_examples_of_the_docstrings_run(finished, monkeypatch):
    """Each in the folder of a finished run."""
    monkeypatch.chdir(finished.experiment.store.root.parent)
    names = {"bb": bb, "torch": torch, "plan": finished.experiment, "run": finished}
    runner = doctest.DocTestRunner(verbose=False)
    functions = [bb.load_suite, bb.plan, bb.run, bb.report, bb.load_results, bb.load_trained, bb.compare]
    for function in [*functions, Experiment.calibrate, Run.write, Run.page]:
        (test,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs=names)
        assert test.examples, f"{function.__name__} has no example"
        assert runner.run(test).failed == 0


def test_a_suite_is_what_a_plan_takes():
    assert isinstance(bb.load_suite(TINY), SuiteFile)
    assert bb.plan(bb.load_suite(TINY), device="cpu").plan.key == bb.plan(TINY, device="cpu").plan.key
