"""The documents against the code: links, suites, Python and commands of every page that is written by hand."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from benchbench.cli.main import main
from benchbench.components import Offer
from benchbench.plugins import load_plugins
from benchbench.reference import FOLDER, pages
from benchbench.suite.file import load_suite
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
    whole,
)
from tests.networks import in_this_process

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
WRITTEN = [name for name in PAGES if name.removeprefix(f"{FOLDER}/") not in pages()]
TEXTS = {name: (DOCS / name).read_text(encoding="utf-8") for name in PAGES}
README = (ROOT / "README.md").read_text(encoding="utf-8")


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
        """Which `benchbench docs` prints."""
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


def merged(base, change):
    return base | change if isinstance(base, dict) and isinstance(change, dict) else change


class TestPython:
    """Blocks of Python name what there is: modules, their attributes, and arguments of functions."""

    @pytest.mark.parametrize(("page", "examples"), of_written(lambda text: blocks(text, "python")))
    def test_names_exist(self, page, examples):
        modules = {}
        for block in examples:
            tree = ast.parse(block.code)
            for module, name, alias in imported(tree):
                loaded = importlib.import_module(module)
                assert not name or hasattr(loaded, name), f"{module} has no {name}"
                if not name:
                    modules[alias] = loaded
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                    assert hasattr(modules[node.value.id], node.attr), f"no {node.value.id}.{node.attr}"


def imported(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Imports out of the package: module, name out of it (empty for the module itself), and the name here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchbench":
            yield from ((str(node.module), each.name, each.asname or each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            ours = [each for each in node.names if each.name.split(".")[0] == "benchbench"]
            yield from ((each.name, "", each.asname or each.name) for each in ours)


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
