"""The command line, `run` apart: what it prints, its exit codes, and one line for whatever a user gets wrong."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from benchbench import __version__
from benchbench.cli import main as main_module
from benchbench.cli.grouped import PURPOSES
from benchbench.store import StageState, Store
from benchbench.suite.shipped import shipped_suites
from tests.specs import training_record


@pytest.fixture
def broken_plugin(distribution, monkeypatch) -> None:
    site = distribution("bb-cli-broken", {"bb_cli_broken.py": "import no_such_module"}, {"broken": "bb_cli_broken"})
    monkeypatch.syspath_prepend(str(site))


class TestScript:
    """The installed console script, as a shell starts it."""

    script = Path(sys.executable).with_name("benchbench")

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [self.script, *(str(argument) for argument in arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)

    def test_version(self):
        done = self.run("--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"benchbench {__version__}\n", "")

    def test_bad_suite(self, suite, tmp_path):
        suite.write_text(suite.read_text().replace("seeds:", "sedes:"))
        done = self.run("plan", suite, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert (
            done.stderr
            == "error: suite.yaml:2: sedes: unknown key 'sedes'; did you mean 'seeds'? (see `benchbench docs suite`)\n"
        )

    def test_as_a_module(self, python):
        assert python("-m", "benchbench", "--version").out == f"benchbench {__version__}\n"


def examples_of(command: click.Command) -> list[list[str]]:
    """The arguments of each example in a command's help."""
    _, _, block = inspect.cleandoc(command.help or "").partition("Examples:\n")
    return [shlex.split(line)[1:] for line in block.splitlines() if line.strip()]


class TestHelp:
    def test_without_arguments(self, cli):
        done = cli()
        assert done.code == 0
        assert done.out == cli("--help").out

    def test_commands_are_listed_by_purpose(self, cli):
        lines = cli("--help").out.splitlines()
        headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
        assert headings == ["Options:", "Look:", "Run:", "Report:", "Store:", "Extend:"]
        listed = [line.split()[0] for line in lines if re.match(r"  \w+  ", line)]
        assert listed == [name for names in PURPOSES.values() for name in names]
        assert sorted(listed) == sorted(main_module.cli.commands)

    @pytest.mark.parametrize("command", main_module.cli.commands)
    def test_every_command(self, cli, command):
        for flag in ("-h", "--help"):
            done = cli(command, flag)
            assert (done.code, done.err) == (0, "")
            assert f"benchbench {command}" in done.out
            assert f"Examples:\n    benchbench {command}" in done.out

    @pytest.mark.parametrize("name", main_module.cli.commands)
    def test_examples_are_two_or_more_and_can_be_parsed(self, name):
        command = main_module.cli.commands[name]
        examples = examples_of(command)
        assert len(examples) >= 2
        for own_name, *arguments in examples:
            assert own_name == name
            parent = click.Context(main_module.cli, info_name="benchbench")
            command.make_context(name, arguments, parent=parent)  # raises where it would refuse them

    def test_the_examples_of_all_can_be_parsed(self):
        for name, *arguments in examples_of(main_module.cli):
            main_module.cli.commands[name].make_context(name, arguments)

    def test_suites_of_examples_ship(self):
        every = [example for command in main_module.cli.commands.values() for example in examples_of(command)]
        suites = {words[1] for words in every if words[0] in ("plan", "run", "report", "watch")}
        assert {name for name in suites if not name.endswith(".yaml")} <= set(shipped_suites())


class TestPlan:
    def test_text(self, cli, suite, fake_costs):
        done = cli("plan", suite, "--device", "cpu")
        assert (done.code, done.err) == (0, "")
        first, second, *rest = done.out.splitlines()
        assert first.startswith("tiny: 4 cells in 5 stages, 0 done; on ")
        assert second == "data: cifar   students: small   seeds: [0, 1]"
        rows = {line.split("  ")[0]: line.split() for line in rest if line}
        # 2 cells x 40 images x 3 GFLOPs of training, and 1,000 test images each; distillation adds the teacher's
        # forward pass, and then its adaptation.
        assert rows["scratch"][1:] == ["0/2", "80", "2.24", "T", "2.24", "T", "?", "?"]
        assert rows["distil, big (scratch)"][3:] == ["0/2", "80", "2.64", "T", "8.24", "T", "?", "?"]
        assert rows["teacher"][-4:] == ["do", "40", "5.6", "T"]
        assert "note: fewer than three seeds: the spread is hardly known" in rest

    def test_half_precision_without_a_gpu_is_noted(self, cli, suite, fake_costs):
        done = cli("plan", suite, "--device", "cpu", "--set", "recipes.default.precision=fp16")
        note = "note: precision fp16 needs a GPU: 5 stages cannot train on this CPU; use bf16 or fp32"
        assert note in done.out.splitlines()
        assert "fp16" not in cli("plan", suite, "--device", "cpu").out

    def test_all_lists_every_stage(self, cli, suite, plan_of, fake_costs):
        done = cli("plan", suite, "--all")
        stages = plan_of(suite).stages.values()
        assert len(stages) == 5
        for stage in stages:
            assert f"{stage.label}" in done.out
            assert stage.key[:16] in done.out
        cells = [stage.key[:16] for stage in stages if stage.kind == "cell"]
        assert not any(key in cli("plan", suite).out for key in cells)

    def test_json(self, cli, suite, plan_of, fake_costs):
        done = cli("plan", suite, "--json", "--device", "cpu")
        found, plan = json.loads(done.out), plan_of(suite)
        assert (found["suite"], found["key"]) == ("tiny", plan.key)
        assert [stage["key"] for stage in found["stages"]] == list(plan.stages)
        assert [cell["stage"] for cell in found["cells"]] == [cell.stage for cell in plan.cells]
        assert {stage["state"] for stage in found["stages"]} == {"to do"}
        costs = {stage["label"]: (stage["images"], stage["flops"]) for stage in found["stages"]}
        assert costs["scratch | cifar | small | seed 0"] == (40, 1.12e12)
        assert costs["distil, big (scratch) | cifar | small | seed 0"] == (40, 1.32e12)
        assert costs["teacher big (scratch) | cifar"] == (40, 5.6e12)

    def test_states(self, cli, suite, plan_of, fake_costs):
        store = Store(Path("runs"))
        stages = {stage.label: stage for stage in plan_of(suite).stages.values()}
        done, failed, started = (
            store.stage(stages[label].kind, stages[label].key)
            for label in (
                "scratch | cifar | small | seed 0",
                "scratch | cifar | small | seed 1",
                "teacher big (scratch) | cifar",
            )
        )
        for folder in (done, failed, started):
            folder.path.mkdir(parents=True)
        done.write_record(training_record())
        failed.write_state(StageState(status="failed", reason="out of\nmemory"))
        started.checkpoint.touch()
        found = json.loads(cli("plan", suite, "--json").out)
        states = {stage["label"]: (stage["state"], stage["reason"]) for stage in found["stages"]}
        assert states.pop("scratch | cifar | small | seed 0") == ("done", None)
        assert states.pop("scratch | cifar | small | seed 1") == ("failed", "out of memory")
        assert states.pop("teacher big (scratch) | cifar") == ("started", None)
        assert set(states.values()) == {("to do", None)}
        text = cli("plan", suite).out
        assert "5 stages, 1 done" in text
        assert "failed: scratch | cifar | small | seed 1: out of memory" in text

    def test_what_a_network_costs_is_asked_once(self, cli, suite, fake_costs):
        cli("plan", suite)
        cli("plan", suite, "--set", "seeds=[5]", "--set", "recipes.default.lr=0.1")
        assert fake_costs == [3]  # two networks, and whether the losses can work on them
        cli("plan", suite, "--set", "recipes.default.image_size=64")
        assert fake_costs == [3, 3]

    @pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
    def test_a_model_that_its_library_does_not_have(self, cli, suite, fake_costs, name):
        text = suite.read_text()
        suite.write_text(text.replace(name, "test_typo"))
        line = text[: text.index(name)].count("\n") + 1
        for _ in range(2):  # what went wrong is not kept
            done = cli("plan", suite)
            problem = f"suite.yaml:{line}: no 'test_typo' here"
            assert (done.code, done.out, done.err) == (2, "", f"error: {problem} (see `benchbench docs suite`)\n")
        assert fake_costs == [3, 1]
        suite.write_text(text)
        assert cli("plan", suite).code == 0

    def test_store_elsewhere(self, cli, suite, fake_costs):
        assert cli("plan", suite, "--store", "deep/er").code == 0
        assert not Path("runs").exists()

    def test_paths_in_the_home(self, cli, suite, tmp_path, monkeypatch):
        """Shells leave the `~` of `--store=~/runs`."""
        home = tmp_path / "home"
        monkeypatch.setenv("HOME", str(home))
        (home / "runs").mkdir(parents=True)
        (home / "runs/store.json").write_text('{"format": 99}')
        assert f"store {home}/runs was written by another" in cli("plan", suite, "--store=~/runs").err
        assert f"{home}/nowhere.py does not exist" in cli("plan", suite, "--plugin=~/nowhere.py").err

    def test_a_store_that_cannot_be_written_is_no_matter(self, cli, suite, fake_costs):
        assert cli("plan", suite, "--store", "suite.yaml/runs").code == 0

    def test_the_smallest_subset(self, cli, suite, fake_costs):
        done = cli("plan", suite, "--set", "data.cifar={source: cifar10_subset, fraction: 0.0001}", "--json")
        assert {stage["images"] for stage in json.loads(done.out)["stages"]} == {10}

    def test_a_student_that_cannot_be_priced_is_noted(self, cli, suite, fake_costs):
        Path("w.bin").touch()
        overrides = ["--set", "students.small.weights={file: w.bin}", "--set", "arms.tune={method: finetune}"]
        note = "note: the pre-training of small has no known recipe; add `pretraining:` to price it"
        assert note in cli("plan", suite, *overrides).out
        assert "no known recipe" not in cli("plan", suite).out

    def test_a_process_that_cannot_build_networks(self, cli, suite, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

        def run(*_, **__):
            return SimpleNamespace(returncode=1, stdout="", stderr="Traceback ...\nImportError: libfoo.so\n")

        monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=run))
        done = cli("plan", suite)
        assert done.code == 2
        assert done.err == "error: cannot build the suite's models: ImportError: libfoo.so\n"


class TestList:
    def test_all(self, cli):
        out = cli("list").out
        headings = [line for line in out.splitlines() if line and not line.startswith(" ")]
        assert headings == [
            "teachers:",
            "students:",
            "heads:",
            "losses:",
            "augmenters:",
            "datasets:",
            "executors:",
            "metrics:",
            "reports:",
            "figures:",
            "templates:",
        ]
        assert "    temperature: number, default 4.0  T, divides the logits of both sides" in out

    @pytest.mark.parametrize("kind", ["losses", "loss"])
    def test_one_kind(self, cli, kind):
        out = cli("list", kind).out
        assert out.startswith("losses:\n")
        assert "  kd " in out
        assert (
            "    arXiv 2015; reads the teacher's task logits; presets: cifar100, cifar100_standardized, imagenet\n"
            in out
        )
        assert "imagefolder" not in out

    def test_json(self, cli):
        listed = {entry["name"]: entry for entry in json.loads(cli("list", "losses", "--json").out)}
        assert listed["kd"]["kind"] == "loss"
        assert listed["kd"]["origin"] == "benchbench"
        assert listed["kd"]["needs"] == ["teacher.logits"]
        assert listed["at"]["venue"] == "ICLR 2017"
        assert listed["at"]["presets"]["cifar100"]["weight"] == 1000
        assert listed["kd"]["params"]["temperature"] == {"type": "number", "required": False, "default": 4.0}
        assert listed["sp"]["reads"] == "the teacher's embedding, or the maps between stages"
        assert listed["cwd"]["reads"] == "the maps between stages of both networks, or the logits of both networks"
        assert listed["cwd"]["optional"] == {"logits": ["pixels", "teacher.logits"]}
        assert listed["sdd"]["params"]["scales"]["type"] == "list of integers (≥ 1)"
        types = {each["type"] for entry in listed.values() for each in entry["params"].values()}
        assert not any(re.search(r"[\[\]`]|None|float|bool", each) for each in types), types
        everything = json.loads(cli("list", "--json").out)
        folders = next(entry for entry in everything if entry["name"] == "imagefolder")
        assert folders["params"]["path"] == {"type": "path", "required": True, "default": None}

    def test_with_a_plugin(self, cli, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text(
            "from benchbench import Component, hookimpl\n\n@hookimpl\ndef benchbench_losses():\n"
            "    yield Component('mine', 'a:b', summary='two\\nlines')\n"
        )
        assert f"  mine                 two lines  [{path}]" in cli("list", "losses", "--plugin", path).out
        assert f"{path}  [{path}]  offers loss/mine" in cli("plugins", "--plugin", path).out

    @pytest.mark.usefixtures("broken_plugin")
    def test_plugins_that_did_not_load(self, cli):
        reason = "ModuleNotFoundError: No module named 'no_such_module'"
        assert f"did not load: broken (bb-cli-broken 1.0): {reason}" in cli("list", "losses").out
        assert f"broken (bb-cli-broken 1.0)  DID NOT LOAD: {reason}" in cli("plugins").out


class TestBadInput:
    """Exit code 2, nothing on stdout, and one line on stderr."""

    def message(self, cli, *arguments: object) -> str:
        done = cli(*arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert done.err[:-1].isprintable()
        return done.err[len("error: ") : -1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["plann"], "No such command 'plann'. Did you mean 'plan'?"),
            (["plan"], "Missing argument 'SUITE'."),
            (["plan", "suite.yaml", "--devic", "cpu"], "'--device'"),
            (["plan", "suite.yaml", "--jobs", "0"], "'--jobs': 0 is not in the range"),
            (["plan", "suite.yaml", "--device", "gpu"], "unknown device 'gpu'; use auto, cpu, cuda, cuda:N or mps"),
            (["plan", "suite.yaml", "--store", "suite.yaml"], "'suite.yaml' is a file"),
            (["plan", "suite.yaml", "--plugin", "nowhere.py"], "nowhere.py does not exist"),
            (["plan", "suite.yaml", "--plugin", "suite.yaml"], "suite.yaml did not load: not a Python file"),
            (["plan", "suite.yaml", "--set", "seeds"], "--set seeds: write KEY=VALUE; for example"),
            (["plan", "suite.yaml", "--set", "seeds=x"], "--set seeds: seeds: write a list"),
            (["plan", "suite.yaml", "--set", "plugins=[gone.py]"], "--set plugins: plugin file gone.py does not exist"),
            (["plan", "nowhere.yaml"], "suite file nowhere.yaml does not exist; give the path of a YAML file"),
            (["plan", "."], "'.' is a directory."),
            (["report", "suite.yaml", "--format", "svg"], "'svg' is not one of 'md', 'tex', 'csv', 'txt', 'pdf'"),
            (["report", "nowhere.yaml"], "suite file nowhere.yaml does not exist"),
            (["list", "lossess"], "unknown kind 'lossess'; did you mean 'losses'?"),
            (
                ["list", "xyzzy"],
                "unknown kind 'xyzzy'; known: augmenters, datasets, executors, figures, heads, losses, metri",
            ),
            (["report", "suite.yaml", "--template", "papr"], "unknown template 'papr'; did you mean 'paper'?"),
            (["run", "suite.yaml", "--template", "papr"], "unknown template 'papr'; did you mean 'paper'?"),
            (["report", "suite.yaml", "nowhere.yaml"], "suite file nowhere.yaml does not exist"),
            (["report", "suite.yaml", "./suite.yaml"], "suite.yaml and suite.yaml are both called 'tiny'"),
            (["report"], "Missing argument 'SUITE...'"),
            (["list", "--plugin", "nowhere.py"], "nowhere.py does not exist"),
            (["plugins", "extra"], "unexpected extra argument"),
        ],
    )
    def test_arguments(self, cli, suite, arguments, message):
        assert message in self.message(cli, *arguments)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "suite.yaml:1: a suite is a mapping"),
            (b"\x00\x01\x02\xff\xfe", "cannot read suite file suite.yaml"),
            (b"name: tiny\n\tseeds: [0]\n", "suite.yaml:2: not valid YAML: found character"),
            (b"name: tiny\nname: tiny\n", "suite.yaml:2: duplicate key 'name'; keep one of them"),
            (b'name: tiny\nseeds: [0]\ndata: {"a\\nb\\e[31m": {}}\n', r"suite.yaml:3: data.a b\x1b[31m: "),
            (b"name: !!python/object/apply:os.getcwd []\n", "suite.yaml:1: name: no tags"),
        ],
    )
    def test_suite_files(self, cli, suite, content, message):
        suite.write_bytes(content)
        assert message in self.message(cli, "plan", suite)

    def test_store_of_another_version(self, cli, suite):
        Path("runs").mkdir()
        Path("runs/store.json").write_text('{"format": 99}')
        assert (
            "store runs was written by another BenchBench (format 99; this one reads 2); use another --store"
            in self.message(cli, "plan", suite)
        )

    @pytest.mark.usefixtures("broken_plugin")
    def test_a_name_that_a_broken_plugin_may_have_had(self, cli, suite):
        loss = "arms.distil.loss={theirs: 1}"
        message = self.message(cli, "plan", suite, "--set", loss)
        assert message.startswith("--set arms.distil.loss: unknown loss 'theirs'; known: ")
        assert "; plugin broken (bb-cli-broken 1.0) did not load: ModuleNotFoundError: No module" in message
