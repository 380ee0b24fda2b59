"""Completion in shells: click's, with the suites that ship."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT


@pytest.fixture
def complete(cli, monkeypatch, tmp_path):
    """Completions that a shell is offered for the last word of a line."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> list[str]:
        monkeypatch.setenv("_BENCHBENCH_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        return cli().out.splitlines()

    return run


def test_commands_options_choices_and_suites(complete, tmp_path):
    assert complete("benchbench sto") == ["plain,store"]
    assert complete("benchbench store r") == ["plain,rm"]
    assert "plain,--max-size" in complete("benchbench store gc --m")
    assert complete("benchbench report x --format h") == ["plain,html"]
    assert "plain,quickstart" in complete("benchbench run q")
    (tmp_path / "leaves.yaml").touch()
    assert complete("benchbench run le") == ["plain,leaves.yaml", "file,le"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts(cli, monkeypatch, shell):
    monkeypatch.setenv("_BENCHBENCH_COMPLETE", f"{shell}_source")
    done = cli()
    assert (done.code, done.err) == (0, "")
    assert f"_BENCHBENCH_COMPLETE={shell}_complete" in done.out
    page = (ROOT / "docs" / "get-started" / "install.md").read_text()
    assert f"_BENCHBENCH_COMPLETE={shell}_source benchbench" in page


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_documented_script(tmp_path):
    folder = Path(sys.executable).parent
    lines = (
        f"PATH={folder}:$PATH; . <(_BENCHBENCH_COMPLETE=bash_source benchbench)\n"
        "COMP_WORDS=(benchbench wat); COMP_CWORD=1; _benchbench_completion benchbench\n"
        'echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.stdout == "watch\n", done.stderr
