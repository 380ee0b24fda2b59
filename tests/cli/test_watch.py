"""`benchbench watch` as a user starts and ends it, and `benchbench report --format html`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.forked import ForkedProcess


@pytest.fixture
def suite(tiny_suite, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny_suite(tmp_path)
    return Path("suite.yaml")


@pytest.mark.whole_run
def test_it_serves_until_it_is_interrupted(suite):
    """Before the first run, without a store; and it leaves none."""
    command = [sys.executable, "-m", "benchbench", "watch", str(suite), "--port", "0", "--json"]
    process = ForkedProcess(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("http://127.0.0.1:")
        with urlopen(f"{url}data.json", timeout=30) as answer:
            data = json.load(answer)
        assert [cell["status"] for cell in data["cells"]] == ["missing"] * 4
        assert data["command"] == "benchbench report suite.yaml"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
        assert not Path("runs").exists()
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken(cli, suite):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("watch", suite, "--port", port)
    assert done.code == 2
    assert done.err.startswith(f"error: cannot serve on 127.0.0.1:{port} (")
    assert done.err.endswith("use another --port, or 0 for a free one\n")
    assert len(done.err.splitlines()) == 1


def test_bad_input(cli, suite):
    assert cli("watch", "no_such.yaml", "--port", 0).err.startswith("error: ")
    assert "--port" in cli("watch", suite, "--port", 70_000).err


def test_a_report_as_a_page_even_where_nothing_is_done(cli, suite):
    done = cli("report", suite, "--format", "html")
    assert done.code == 0
    assert done.err == "written: reports/tiny/report.html\nno cell is done, so no tables are written\n"
    assert [path.name for path in Path("reports/tiny").iterdir()] == ["report.html"]
    assert cli("report", suite, "--format", "html", "--report", "elsewhere").code == 0
    assert Path("elsewhere/report.html").read_bytes() == Path("reports/tiny/report.html").read_bytes()
