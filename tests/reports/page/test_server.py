"""The page over HTTP: to this machine alone, two addresses, read only, and no more often than it costs little."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Thread

import pytest

from benchbench.reports.page import server as module
from benchbench.reports.page.server import LivePage, PageServer


@pytest.fixture
def live_page(run_lab) -> LivePage:
    return LivePage(run_lab.plan, run_lab.store, "benchbench report suite.yaml")


@pytest.fixture
def server(live_page) -> Iterator[PageServer]:
    with PageServer(live_page, port=0) as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def ask(server) -> Callable[..., HTTPResponse]:
    """Sends a request and gives the answer, its body in `.text`."""

    def ask_(path: str, method: str = "GET", **headers: str | None) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    return ask_


def test_the_page_and_its_data(ask, run_lab):
    page, data = ask("/"), ask("/data.json")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "connect-src 'self'" in page.text
    assert (data.status, data.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    content = json.loads(data.text)
    assert content["live"] is True
    assert len(content["cells"]) == 12
    assert page.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_many_connections_at_once_are_answered(live_page):
    """They come before the first of them is looked at."""
    with PageServer(live_page, port=0) as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.server_address[1])
        clients = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(200)]
        for client in clients:
            client.sendall(b"GET /nothing HTTP/1.0\r\nHost: localhost\r\n\r\n")
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        answers = [client.recv(12) for client in clients]
        server.shutdown()
    assert answers == [b"HTTP/1.0 404"] * 200


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


OTHERS = [
    *(None, "", "evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost@evil.example"),
    *("a@localhost", "localhost/", "0.0.0.0", "[::1]", "[", "127.0.0.1:1:2:x]"),
]


def test_names_of_this_machine(ask):
    hosts = ["127.0.0.1", "localhost", "localhost:9000", "LOCALHOST:1"]
    assert {host: ask("/", Host=host).status for host in hosts} == dict.fromkeys(hosts, 200)


def test_any_other_name_is_refused(ask):
    """A page elsewhere whose name is made to mean 127.0.0.1 must not read this one."""
    answers = {(host, path): ask(path, Host=host) for host in OTHERS for path in ("/", "/data.json")}
    assert {request: answer.status for request, answer in answers.items()} == dict.fromkeys(answers, 403)
    assert not any("cells" in answer.text for answer in answers.values())


def test_no_path_is_a_file(ask):
    paths = ["/report.html", "/../suite.yaml", "/%2e%2e/suite.yaml", "/data.json/..", "/runs/store.json"]
    assert {path: ask(path).status for path in paths} == dict.fromkeys(paths, 404)


def test_it_only_reads(ask):
    methods = ["POST", "PUT", "DELETE", "OPTIONS"]
    assert {method: ask("/data.json", method).status for method in methods} == dict.fromkeys(methods, 501)


def test_head_has_no_body(ask):
    answer = ask("/", "HEAD")
    assert (answer.status, answer.text) == (200, "")
    assert int(answer.headers["Content-Length"]) > 1000


def test_what_has_not_changed_is_not_sent_again(ask, run_lab, live_page, monkeypatch):
    monkeypatch.setattr(module, "SHORTEST", 0)
    monkeypatch.setattr(module, "SHARE", float("inf"))
    first = ask("/data.json")
    again = ask("/data.json", If_None_Match=f'"other", W/{first.headers["ETag"]}')
    assert (again.status, again.text) == (304, "")
    assert again.headers["ETag"] == first.headers["ETag"]
    run_lab.finish(run_lab.cells("scratch")[1].stage, accuracy=0.75)
    after = ask("/data.json", If_None_Match=first.headers["ETag"])
    assert after.status == 200
    assert json.loads(after.text)["cells"][1]["accuracy"] == 0.75
    assert "0.75" in ask("/").text


def test_the_store_is_looked_at_now_and_then(live_page, run_lab, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    first = live_page.json()
    run_lab.finish(run_lab.cells("scratch")[1].stage, accuracy=0.75)
    now[0] += 0.9
    assert live_page.json() == first
    now[0] += 0.2
    assert live_page.json() != first


def test_looking_takes_a_small_share_of_the_time(live_page, monkeypatch):
    """A store that takes 3 seconds to read is read every 15 seconds and not every one."""
    now, reads = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def read() -> dict:
        reads.append(now[0])
        now[0] += 3
        return {"live": True, "reads": len(reads)}

    monkeypatch.setattr(live_page, "_read", read)
    live_page.json()
    now[0] += 14.9
    live_page.json()
    assert reads == [0.0]
    now[0] += 0.2
    live_page.json()
    assert len(reads) == 2


def test_a_table_that_cannot_be_made_is_said_once(make_lab, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "SHORTEST", 0)
    monkeypatch.setattr(module, "SHARE", float("inf"))
    plugin = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_reports():
    yield Component("broken", __name__ + ":broken")

def broken(results, plan):
    raise ValueError("no such column")
"""
    (tmp_path / "broken.py").write_text(plugin)
    lab = make_lab(plugins=["broken.py"])
    live_page = LivePage(lab.plan, lab.store, "")
    for _ in range(3):
        live_page.json()
    assert capsys.readouterr().err.count("no table 'broken'") == 1


def test_what_goes_wrong_is_one_line_and_the_next_request_is_answered(ask, live_page, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(live_page, "_read", lambda: 1 / 0)
        with pytest.raises(ConnectionError):
            ask("/")
    assert ask("/").status == 200
    assert capsys.readouterr().err == "warning: a request failed: ZeroDivisionError: division by zero\n"
