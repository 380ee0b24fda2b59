"""The documents against the code: links, suites, Python and commands of every page that is written by hand."""

from __future__ import annotations

import io
import itertools
import re
import shlex
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

import benchbench
from benchbench.cli.main import main
from benchbench.components import KINDS, Offer
from benchbench.planning.keys import describe
from benchbench.plugins import load_plugins
from benchbench.reference import FOLDER, pages
from benchbench.statistics.noninferiority import MATCHES, SURPASSES
from benchbench.statistics.simulation import bootstrap_coverage, simulated_verdicts, t_coverage
from benchbench.suite.file import load_suite
from benchbench.suite.shipped import shipped_suites
from tests.documents import (
    INCLUDE,
    ROOT,
    assert_shows,
    benchbench_commands,
    blocks,
    command_error,
    console_sessions,
    files,
    leads_somewhere,
    links,
    missing_names,
    whole,
)
from tests.networks import in_this_process

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
GENERATED = {f"{FOLDER}/{name}" for name in pages()}
WRITTEN = [name for name in PAGES if name not in GENERATED]
TEXTS = {name: (DOCS / name).read_text(encoding="utf-8") for name in PAGES}


def of_written(select) -> list:
    """Parameters of a test: each page that is written by hand and has something, with it."""
    return [pytest.param(name, found, id=name) for name in WRITTEN if (found := select(TEXTS[name]))]


class TestPages:
    def test_links_lead_somewhere(self):
        broken = [
            f"{name}: {link}" for name in PAGES for link in links(TEXTS[name]) if not leads_somewhere(DOCS / name, link)
        ]
        assert broken == []

    def test_included_files_are_there(self):
        included = [(name, path) for name in WRITTEN for path in INCLUDE.findall(TEXTS[name])]
        assert [each for each in included if not (ROOT / each[1]).is_file()] == []

    def test_each_begins_with_its_title_and_a_paragraph(self):
        """Both are printed by `benchbench docs`."""
        odd = [name for name in WRITTEN if not re.match(r"# \S.*\n\n[^#\n]", whole(DOCS / name))]
        assert odd == []

    def test_no_two_have_one_title_in_a_folder(self):
        titles = [(name.rpartition("/")[0], whole(DOCS / name).partition("\n")[0]) for name in WRITTEN]
        assert len(set(titles)) == len(titles)

    def test_a_list_begins_after_an_empty_line(self):
        """Python-Markdown would read it as part of the paragraph, where GitHub reads a list."""
        joined = [
            f"{name}: {after}"
            for name in PAGES
            for before, after in adjacent_lines(TEXTS[name])
            if re.match(r"([-*]|\d+\.) ", after) and before and not re.match(r"([-*]|\d+\.) | {2,}", before)
        ]
        assert joined == []


def adjacent_lines(text: str) -> Iterator[tuple[str, str]]:
    lines = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()
    return itertools.pairwise(lines)


class TestSuites:
    """A block of YAML is a suite, a plugin's part of one, or the keys of one that the text is about."""

    BASE = """\
name: base
seeds: [0, 1, 2]
data: {cifar10: {source: cifar10}}
students: {MobileNetV2: {model: torchvision/mobilenet_v2, weights: pretrained}}
teachers: {ResNet-50: {model: timm/resnet50, weights: pretrained, adapt: [linear_probe, finetune]}}
arms: {scratch: {method: scratch}}
"""

    @pytest.mark.parametrize(("page", "examples"), of_written(lambda text: blocks(text, "yaml")))
    def test_are_valid(self, page, examples, tmp_path):
        yaml = YAML()
        for number, block in enumerate(examples):
            content = yaml.load(block.code)
            if "name" not in content:
                base = yaml.load(self.BASE)
                content = base | {key: merged(base.get(key), value) for key, value in content.items()}
            path = tmp_path / f"{number}.yaml"
            yaml.dump(content, path)
            load_suite(path)

    @pytest.mark.whole_run
    @pytest.mark.parametrize(
        "name",  # losses_small has the arms of the one, and losses_cifar10 those of the other
        [name for name in shipped_suites() if name not in ("losses", "losses_cifar10_ahead")],
    )
    def test_those_that_ship_can_be_planned(self, name, tmp_path, cli, monkeypatch):
        """Models and losses are checked by the real libraries, imported once, without a GPU and without a download."""
        monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
        corpora = dict.fromkeys(("pretraining_small", "pretraining_small_lite2"), self.corpus)
        brought = {**corpora, "losses_cifar10": self.weights}  # by users
        options = brought[name](tmp_path) if name in brought else ()
        done = cli("plan", name, "--store", tmp_path / "runs", "--device", "cpu", *options)
        assert (done.code, done.err) == (0, "")
        assert " cells in " in done.out

    def corpus(self, folder: Path) -> tuple[str, str]:
        """Eight small files in the place of a corpus of the hub, whose sizes are known after its download alone."""
        corpus = folder / "corpus"
        write_parquet(corpus / "train.parquet", range(8))
        write_parquet(corpus / "valid.parquet", range(4))
        return "--set", f"pretraining.corpus.data.source={{huggingface: {{path: {corpus}, test_split: valid}}}}"

    def weights(self, folder: Path) -> tuple[str, str]:
        """Of a teacher with its classifier, under the names of public files."""
        from safetensors.torch import save_file
        from torch import nn

        from benchbench.models.cifar import RESNETS

        network = RESNETS["resnet56"](shortcut="A")
        network.add_module("linear", nn.Linear(network.dim, 10))
        save_file(network.state_dict(), folder / "weights.safetensors")
        return "--set", f"teachers.resnet56.weights.file={folder / 'weights.safetensors'}"

    def test_all_that_ship_are_listed(self):
        text = TEXTS["get-started/first-suite.md"]
        assert [name for name in shipped_suites() if f"| [`{name}`](../../suites/{name}.yaml) |" not in text] == []

    @pytest.mark.parametrize(("page", "examples"), of_written(lambda text: blocks(text, "yaml")))
    def test_whole_ones_can_be_planned(self, page, examples, tmp_path, cli, monkeypatch):
        monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
        for name, text in files(TEXTS[page]).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        for number, block in enumerate(each for each in examples if re.search(r"^name:", each.code, re.MULTILINE)):
            path = tmp_path / f"suite{number}.yaml"
            path.write_text(block.code, encoding="utf-8")
            done = cli("plan", path, "--store", tmp_path / "runs", "--device", "cpu")
            assert (done.code, done.err) == (0, "")


def write_parquet(path: Path, shades: range) -> None:
    """Grey images of 64 px, of two classes in turn, in the layout of the hub."""
    path.parent.mkdir(exist_ok=True)
    images = []
    for shade in shades:
        file = io.BytesIO()
        Image.new("RGB", (64, 64), (20 * shade,) * 3).save(file, "PNG")
        images.append({"bytes": file.getvalue(), "path": None})
    pd.DataFrame({"image": images, "label": [shade % 2 for shade in shades]}).to_parquet(path)


def merged(base, change):
    return base | change if isinstance(base, dict) and isinstance(change, dict) else change


@pytest.mark.parametrize(("page", "examples"), of_written(lambda text: blocks(text, "python")))
def test_names_in_python_exist(page, examples):
    assert [error for block in examples for error in missing_names(block.code)] == []


class TestCommands:
    @pytest.mark.parametrize(("page", "commands"), of_written(lambda text: list(benchbench_commands(text))))
    def test_exist_with_their_options(self, page, commands):
        assert [f"{' '.join(each)}: {error}" for each in commands if (error := command_error(each))] == []

    @pytest.mark.parametrize(("page", "sessions"), of_written(console_sessions))
    def test_print_the_lines_below_them(self, page, sessions, tmp_path, capsys, monkeypatch):
        """A block that begins with a comment `# NAME.py` (.yaml, .toml) is a file; a line `$ benchbench ...` is run."""
        monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
        monkeypatch.setattr("benchbench.testing.pairs.ROUNDS", 3)
        write_files(page, tmp_path, monkeypatch)
        for command, lines in sessions:
            program, *arguments = shlex.split(command, comments=True)
            assert program == "benchbench", f"only benchbench is run, not {program}"
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            printed = capsys.readouterr()
            refused = any(line.startswith("error:") for line in lines)
            assert ended.value.code == (2 if refused else 0), printed.err
            assert_shows(printed.err if refused else printed.out, lines)


@pytest.mark.parametrize("page", [name for name in WRITTEN if "def benchbench_losses" in TEXTS[name]])
def test_losses_can_be_evaluated(page, tmp_path, monkeypatch):
    from benchbench.testing.losses import LossCase, check_gradients, check_preparation, check_terms

    write_files(page, tmp_path, monkeypatch)
    offers = losses_of(sorted(tmp_path.glob("*.py")))
    assert offers
    for offer in offers:
        case = LossCase(offer.component)
        check_terms(case)
        check_gradients(case)
        check_preparation(case)


def write_files(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a page's files into a folder, which becomes the working folder, as if its packages were installed."""
    for name, text in files(TEXTS[page]).items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)


def losses_of(paths: list[Path]) -> list[Offer]:
    origins = {str(path) for path in paths}
    return [offer for offer in load_plugins(paths).registry.of_kind("loss") if offer.origin in origins]


class TestPlugins:
    """Plugins of a page as its reader has them: in a folder of their own, whatever the working folder."""

    @pytest.mark.parametrize("page", [name for name in WRITTEN if "@hookimpl" in "".join(files(TEXTS[name]).values())])
    def test_files_load_from_anywhere(self, page, tmp_path, monkeypatch):
        """By `--plugin FILE`: each component has its target and its source, modules beside the file among them."""
        for name, text in files(TEXTS[page]).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        for path in [path for path in tmp_path.glob("*.py") if "@hookimpl" in path.read_text(encoding="utf-8")]:
            registry = load_plugins([path]).registry
            for offer in [each for kind in KINDS for each in registry.of_kind(kind) if each.origin == str(path)]:
                assert callable(offer.component.load())
                assert describe(offer.component).source

    @pytest.mark.whole_run  # a build takes seconds
    @pytest.mark.parametrize("page", [name for name in WRITTEN if "pyproject.toml" in files(TEXTS[name])])
    def test_packages_are_built_and_installed(self, page, tmp_path, python):
        source, site = tmp_path / "source", tmp_path / "site"
        source.mkdir()
        for name, text in files(TEXTS[page]).items():
            (source / name).write_text(text, encoding="utf-8")
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
        done = python("-m", "pip", "wheel", *options, "--wheel-dir", tmp_path / "wheels", source)
        assert done.code == 0, done.err
        (wheel,) = (tmp_path / "wheels").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        code = (
            "import sys; from benchbench.components import KINDS; from benchbench.plugins import load_plugins\n"
            "registry = load_plugins().registry\n"
            "offers = [offer for kind in KINDS for offer in registry.of_kind(kind) if offer.origin == sys.argv[1]]\n"
            "print(*(offer.component.load().__name__ for offer in offers), sorted(registry.failed_plugins))"
        )
        project = tomllib.loads(files(TEXTS[page])["pyproject.toml"])["project"]
        installed = python("-c", code, f"{project['name']} {project['version']}", path=[site, ROOT], cwd=tmp_path)
        assert installed.code == 0, installed.err
        assert re.fullmatch(r"\w+( \w+)* \[\]", installed.out.strip())


def test_every_public_name_has_its_place_in_the_reference():
    text = TEXTS["reference/python.md"]
    names = [name for name in benchbench.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"^::: benchbench\.[\w.]+\.{name}$", text, re.MULTILINE)] == []


class TestResults:
    """Statements of the pages of results, which include the reports' tables, hold for the reports."""

    def test_pre_training_wins_the_quickstart_and_distillation_costs_more_than_scratch(self):
        results = pd.read_csv(ROOT / "reports" / "quickstart" / "results.csv")
        hours = results.own_hours + results.shared_stage_hours
        rows = results.assign(hours=hours).groupby(["method", "row"])[["accuracy", "hours"]].mean()
        distilled, scratch, tuned = (rows.loc[method] for method in ("distill", "scratch", "finetune"))
        assert tuned.accuracy.min() > distilled.accuracy.max() + 0.1
        assert distilled.hours.min() > scratch.hours.max()

    def test_most_losses_differ_from_the_student_alone_by_chance(self):
        """Two accuracies on N images differ by up to 1.96 sqrt(2 p (1 - p) / N) in 95 % of pairs of equal networks."""
        results = pd.read_csv(ROOT / "reports" / "losses_small" / "results.csv")
        alone = results[results.row == "scratch"].set_index("student").accuracy
        distilled = results[(results.method == "distill") & results.student.isin(alone.index)]
        p = distilled.student.map(alone)
        chance = 1.96 * np.sqrt(2 * p * (1 - p) / distilled.test_images)
        assert ((distilled.accuracy - p).abs() <= chance).mean() > 0.5
        assert distilled.teacher_accuracy.max() < 0.5
        assert set(results.seed) == {0}

    def test_the_second_round_has_the_methods_that_were_ahead_of_kd_of_equal_hours(self):
        first = pd.read_csv(ROOT / "reports" / "losses_cifar10" / "against_kd.csv").set_index("arm")
        over_kd = pd.to_numeric(first["over KD, equal hours"], errors="coerce")
        arms = load_suite(ROOT / "suites" / "losses_cifar10_ahead.yaml").suite.arms
        assert set(arms) == {"scratch", "KD", *over_kd.index[over_kd > 1]}

    def test_most_methods_of_the_second_round_beat_kd(self):
        folder = ROOT / "reports" / "losses_cifar10_ahead"
        table = pd.read_csv(folder / "against_kd.csv").set_index("arm")
        epochs, hours = (table[f"over KD, equal {budget}"].str.split(" ", n=1).str for budget in ("epochs", "hours"))
        assert set(table.index[~epochs[1].str.endswith("better")]) == {"TTM", "KD (standardised)", "logit MSE", "ICKD"}
        assert set(table.index[epochs[1].str.endswith("better") & ~hours[1].str.endswith("better")]) == {"NORM"}
        assert not table.apply(lambda column: column.astype(str).str.endswith("worse")).any(axis=None)
        assert list(table.index[:4]) == ["PKD", "FitNets", "OFD", "SimKD (maps)"]
        ahead = [float(each[0][index]) for each in (epochs, hours) for index in table.index[:4]]
        assert 13.5 < min(ahead) < max(ahead) < 22.5
        assert set(table.index[table["hours, × KD"] > 1.14]) == {"FT"}
        results = pd.read_csv(folder / "results.csv")
        means = results.groupby(["arm", "epochs"])[["accuracy", "own_hours"]].mean()
        alone, kd = means.loc["scratch", 4], means.loc["KD"]
        assert 0.025 < alone.accuracy - kd.accuracy[4] < 0.035
        assert 0.055 < kd.accuracy[8] - alone.accuracy < 0.065
        assert 2.5 < kd.own_hours[4] / alone.own_hours < 3.5
        assert set(results.seed) == {1, 2, 3}

    def test_most_losses_on_logits_are_behind_the_student_alone_in_the_first_round(self):
        results = pd.read_csv(ROOT / "reports" / "losses_cifar10" / "results.csv").query("student == 'resnet8'")
        four = results[results.epochs == 4].groupby("arm")[["accuracy", "own_hours"]].mean()
        kd, alone = four.loc["KD"], four.loc["scratch"]
        assert (four.accuracy[["KD (standardised)", "DIST", "TTM", "WTTM", "VRM"]] > alone.accuracy).all()
        behind = ["logit MSE", "DKD", "RLD", "WKD logits", "NKD", "WSLD", "MLKD", "CTKD"]
        assert (four.accuracy[behind] < alone.accuracy).all()
        dear = four.index[four.own_hours > 2 * kd.own_hours]
        assert set(dear) == {"SemCKD", "ReviewKD", "FCFD", "VRM", "CIRKD"}
        assert set(results.seed) == {0}


class TestStatistics:
    def test_the_coverage_is_what_a_smaller_simulation_gives(self):
        """2,000 draws instead of 10,000: three standard errors are up to 3.4 points, and the table's own 1.5."""
        pattern = r"^\| (normal|skewed) +\| +(\d+) \| +([\d.]+) \| +([\d.]+) \|$"
        rows = re.findall(pattern, TEXTS["concepts/statistics.md"], flags=re.MULTILINE)
        assert len(rows) == 8
        for distribution, n, t_interval, bootstrap in rows:
            coverages = (
                t_coverage(distribution, int(n), 2000),
                bootstrap_coverage(distribution, int(n), 2000, resamples=400),
            )
            assert (float(t_interval), float(bootstrap)) == pytest.approx([100 * each for each in coverages], abs=3.5)

    def test_the_seeds_needed_are_what_a_smaller_simulation_gives(self):
        pattern = r"^\| equal, (alone|one of 5) +\| +([\d.]+) \|" + r" +([\d.]+) \|" * 4 + "$"
        rows = re.findall(pattern, TEXTS["concepts/statistics.md"], flags=re.MULTILINE)
        assert len(rows) == 6
        for arms, spread, *shares in rows:
            truths = [0.0] * (1 if arms == "alone" else 5)
            outcomes = [simulated_verdicts(n, float(spread), truths, 2000)[:, 0] for n in (2, 3, 5, 10)]
            expected = [100 * np.isin(each, (MATCHES, SURPASSES)).mean() for each in outcomes]
            assert list(map(float, shares)) == pytest.approx(expected, abs=3.5)
