"""Output that nobody takes: a closed stream, a pipe without a reader, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Commands that print much or little, to either stream; the last fails. Those on documents import nothing heavy.
LIST, PAGE, WRONG = ("list", "losses"), ("docs", "suite"), ("docs", "no-such-word")


def shell(line: str, *arguments: str, **files: str) -> tuple[int, str]:
    """Runs `benchbench ARGUMENTS` followed by a part of a shell's line; gives its exit code and standard error."""
    command = " ".join([f'"{sys.executable}" -m benchbench', *arguments, line])
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=os.environ)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("line", "arguments", "code", "errors"),
    [
        (">&-", PAGE, 0, 0),
        ("| :; exit ${PIPESTATUS[0]}", LIST, 0, 0),
        ("2>&1 | :; exit ${PIPESTATUS[0]}", WRONG, 2, 0),
        ("2>&- >&- <&-", WRONG, 2, 0),
        ("> /dev/full", PAGE, 2, 1),
        ("2> /dev/full", WRONG, 2, 0),
    ],
)
def test_ends_quietly(line, arguments, code, errors):
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    ended, text = shell(line, *arguments)
    assert ended == code
    assert text.count("\n") == errors
    assert "Traceback" not in text
