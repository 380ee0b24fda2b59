"""On Windows every command, and the library, says in one line where it runs instead."""

from __future__ import annotations

import pytest

from benchbench.errors import BenchBenchError
from benchbench.hardware import platform

# The command line and the library import without what Windows lacks; click itself is imported as on this machine.
WINDOWS = """
import sys
for module in ("fcntl", "resource", "termios", "pwd"):
    sys.modules[module] = None
from benchbench.cli.main import main
sys.platform = "win32"
main(sys.argv[1:])
"""
LINE = "error: benchbench runs on Linux and macOS; on Windows, run it in WSL: `wsl --install`\n"


@pytest.mark.parametrize("command", [["plan", "quickstart"], ["list"], ["run", "nowhere.yaml"]])
def test_a_command_on_windows(python, command):
    done = python("-c", WINDOWS, *command)
    assert (done.code, done.out, done.err) == (2, "", LINE)


def test_help_and_version_work_everywhere(python):
    done = python("-c", WINDOWS, "--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("benchbench ")


@pytest.mark.parametrize("name", ["win32", "cygwin"])
def test_the_library_on_windows(monkeypatch, name):
    monkeypatch.setattr(platform.sys, "platform", name)
    with pytest.raises(BenchBenchError, match="Linux and macOS"):
        platform.require_platform()


@pytest.mark.parametrize("name", ["linux", "darwin"])
def test_linux_and_macos(monkeypatch, name):
    monkeypatch.setattr(platform.sys, "platform", name)
    platform.require_platform()
