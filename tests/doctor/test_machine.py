import contextlib
import http.server
import socket
import threading
import time

import pytest

from benchbench.doctor import machine

MOUNTS = """\
overlay / overlay rw 0 0
/dev/sda1 /data ext4 rw 0 0
server:/runs /data/shared nfs4 rw 0 0
server:/more /data/with\\040blank nfs rw 0 0
tmpfs /data tmpfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/elsewhere", "overlay"),
        ("/database", "overlay"),  # no part of /data
        ("/data/runs", "tmpfs"),  # the later mount hides the disk
        ("/data/shared/runs", "nfs4"),
        ("/data/with blank", "nfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(mounts, folder, kind):
    assert machine.file_system_of(machine.Path(folder), mounts) == kind


def test_a_store_on_the_network_is_noted(mounts, tmp_path):
    finding = machine.file_system(machine.Path("/data/shared"), mounts)
    assert (finding.level, finding.text) == ("note", "nfs4, on the network")
    assert "merge" in finding.advice
    assert machine.file_system(machine.Path("/elsewhere"), mounts).level == "ok"
    assert machine.file_system(tmp_path, tmp_path / "no such list").text == "not known on this system"


def test_the_disk_is_that_of_the_nearest_folder_that_exists(tmp_path):
    folder = machine.existing(tmp_path / "runs" / "deep")
    assert folder == tmp_path
    finding = machine.disk(folder)
    assert finding.level in ("ok", "note")
    assert finding.figures["free_gb"] > 0
    assert finding.figures["write_mb_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_a_problem():
    finding = machine.disk(machine.Path("/proc"))
    assert finding.level == "problem"
    assert "--store" in finding.advice


class Server(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_HEAD(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.parametrize("status", [200, 403, 404])
def test_any_answer_of_the_hub_means_that_there_is_a_network(monkeypatch, status):
    monkeypatch.setattr(Server, "status", status)
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        finding = machine.connection(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert finding.level == "ok"


def test_a_hub_that_refuses_or_stays_silent_is_offline_soon(monkeypatch):
    monkeypatch.setattr(machine, "CONNECTION_SECONDS", 0.3)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()
        finding = machine.connection(f"http://127.0.0.1:{port}")
        assert time.monotonic() - begun < 2
    assert (finding.level, finding.name) == ("note", "network")
    finding = machine.connection(f"http://127.0.0.1:{port}")
    assert "refused" in finding.text
    assert "--data" in finding.advice


def test_offline_by_the_environment_asks_nobody(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert machine.connection("http://127.0.0.1:1").text == "offline by HF_HUB_OFFLINE"


def test_every_finding_of_a_machine_has_another_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    findings = list(machine.look(tmp_path))
    assert len({each.name for each in findings}) == len(findings) == 7
    assert all(each.advice for each in findings if each.level != "ok")
