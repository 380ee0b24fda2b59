"""The README against the repository: its size, examples, links and figures."""

import re
import tomllib
from types import SimpleNamespace

import pytest

from benchbench.reference.components import built_in
from benchbench.testing import checks_of
from tests.documents import ROOT, benchbench_commands, blocks, command_error, leads_somewhere, links, missing_names
from tests.networks import in_this_process

PATH = ROOT / "README.md"
README = PATH.read_text(encoding="utf-8")


def test_is_short():
    assert len(README.splitlines()) <= 160
    assert len(README.encode()) <= 7000


def test_links_and_pictures_are_there():
    assert [link for link in links(README) if not leads_somewhere(PATH, link)] == []


def test_badges_say_what_the_package_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    licence = (ROOT / "docs" / "images" / "licence.svg").read_text(encoding="utf-8")
    python = (ROOT / "docs" / "images" / "python.svg").read_text(encoding="utf-8")
    assert f"licence: {project['license']}" in licence
    assert f"python: {project['requires-python'].removeprefix('>=')} or newer" in python


def test_commands_exist_with_their_options():
    commands = list(benchbench_commands(README))
    assert commands
    assert [f"{each}: {error}" for each in commands if (error := command_error(each))] == []


def test_the_suite_can_be_planned(tmp_path, cli, monkeypatch):
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
    (example,) = blocks(README, "yaml")
    (tmp_path / "example.yaml").write_text(example.code, encoding="utf-8")
    done = cli("plan", tmp_path / "example.yaml", "--store", tmp_path / "runs", "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert example.code.count("\n") <= 12


def test_names_in_python_exist():
    assert [error for block in blocks(README, "python") for error in missing_names(block.code)] == []


def test_the_loss_keeps_its_contract(tmp_path):
    (plugin,) = [block.code for block in blocks(README, "python") if "@hookimpl" in block.code]
    path = tmp_path / "cosine.py"
    path.write_text(plugin, encoding="utf-8")
    results = [check.run() for check in checks_of(path) if check.name != "speed"]
    assert results
    assert [str(result) for result in results if result.status == "failed"] == []


def test_the_table_is_that_of_the_report():
    report = (ROOT / "reports" / "pretraining_small" / "accuracy.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in report.splitlines() if line.startswith("|"))
    assert "±" in table
    assert table in README, f"README.md quotes another run; its table is to be:\n\n{table}\n"


def test_the_number_of_losses_is_that_of_the_catalogue():
    number = len(built_in("loss"))
    assert f"| losses | {number} |" in README, f"there are {number} losses"


@pytest.mark.parametrize("heading", ["Run the tests"])
def test_the_test_command_is_the_first_block_of_its_section(heading):
    """`.ci/run` takes it from there."""
    section = README.split(f"\n## {heading}\n")[1]
    (command,) = re.findall(r"```bash\n(.*)\n```", section.split("\n## ")[0])
    assert ".venv/bin/pytest" in command
