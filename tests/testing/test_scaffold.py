"""`benchbench new`: its package works at once, for every kind."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchbench.plugins import load_plugins
from benchbench.testing.scaffold import LONGEST, SCAFFOLDS, new_plugin
from tests.forked import ForkedProcess

ROOT = Path(__file__).parent.parent.parent
# The longest names and the shortest: lines must neither grow too long nor fit on one.
NAMES = {kind: f"{kind}_" + "x" * (LONGEST - len(kind) - 1) for kind in SCAFFOLDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A package of every kind."""
    folder = tmp_path_factory.mktemp("new")
    registry = load_plugins().registry
    for kind, name in NAMES.items():
        new_plugin(kind, name, folder / kind, registry)
        new_plugin(kind, f"q{kind[0]}", folder / f"short-{kind}", registry)
    return folder


def python(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # the other tests want the cores too
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.whole_run
def test_their_own_tests_pass(folder):
    """In one process that has torch, for that takes its time; they run every check that `benchbench check` would."""
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-rA"]
    command = [sys.executable, "-m", "pytest", *options, *(folder / kind for kind in SCAFFOLDS)]
    done = ForkedProcess(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = done.communicate(timeout=300)
    assert done.returncode == 0, out
    passed = [line for line in out.splitlines() if line.startswith("PASSED ")]
    for kind, name in NAMES.items():
        assert [line for line in passed if f"[{kind}/{name} loads]" in line], kind
        assert [line for line in passed if f"[plugin/benchbench_{name}.py imports]" in line], kind


@pytest.mark.parametrize("kind", ["augmenter", "report"])
def test_the_package_passes_the_command(cli, folder, kind, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    done = cli("check", folder / kind)
    assert done.code == 0, done.out
    assert f"ok       plugin/{NAMES[kind]} ({folder / kind})  imports" in done.out.splitlines()


def test_it_is_lint_and_formatted(folder):
    """By this repository's rules, and by the package's own line length."""
    rules = ",".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["select"])
    for command in (["check", "--no-cache", "--select", rules], ["format", "--check", "--no-cache"]):
        done = python("-m", "ruff", *command, folder, cwd=folder)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", SCAFFOLDS)
def test_installed_it_is_there(folder, distribution, monkeypatch, kind):
    """By the entry point that its pyproject.toml names."""
    project = tomllib.loads((folder / kind / "pyproject.toml").read_text())
    (module,) = project["tool"]["setuptools"]["py-modules"]
    files = {f"{module}.py": (folder / kind / f"{module}.py").read_text()}
    site = distribution(project["project"]["name"], files, project["project"]["entry-points"]["benchbench"])
    monkeypatch.syspath_prepend(str(site))
    host = load_plugins()
    assert not host.failed
    assert host.registry.get(kind, NAMES[kind]).summary


def test_a_loss_takes_about_thirty_lines(folder):
    assert len((folder / "loss" / f"benchbench_{NAMES['loss']}.py").read_text().splitlines()) <= 36


def test_nothing_of_the_template_is_left(folder):
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".pyc":  # the packages' own tests may have run
            text = file.read_text()
            assert "template" not in text, file
            assert "$" not in text, file
            if "student" in file.parts:
                assert "teacher" not in text, file


def test_the_readme_names_the_use(folder):
    assert f"{{source: {NAMES['dataset']}}}" in (folder / "dataset" / "README.md").read_text()
    assert "An augmenter for BenchBench" in (folder / "augmenter" / "README.md").read_text()
