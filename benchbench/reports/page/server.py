"""A server of the page while a suite runs: two addresses on this machine's loopback, and nothing that writes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from benchbench.errors import one_line
from benchbench.planning.model import Plan
from benchbench.reports.page.data import page_data
from benchbench.reports.page.render import render, to_json
from benchbench.reports.report import make_report
from benchbench.specs.parts import Json
from benchbench.store import Store

HOST = "127.0.0.1"
SHORTEST = 1.0  # seconds between two reads of the store
SHARE = 0.2  # of one core, at most, that reading takes from the run


class LivePage:
    """The page of a suite from the store's present content, made again on request where it is old enough."""

    def __init__(self, plan: Plan, store: Store, command: str):
        self.plan, self.store, self.command = plan, store, command
        self._lock = threading.Lock()
        self._next = 0.0
        self._warned: set[str] = set()
        self._page = self._json = self._tag = ""

    def page(self) -> str:
        """The whole page."""
        self._renew()
        return self._page

    def json(self) -> tuple[str, str]:
        """The data of the page, and a tag that changes when they do."""
        self._renew()
        return self._json, self._tag

    def _renew(self) -> None:
        with self._lock:
            start = time.monotonic()
            if start < self._next:
                return
            data = self._read()
            text = to_json(data)
            tag = hashlib.sha256(text.encode()).hexdigest()[:32]
            if tag != self._tag:
                self._page, self._json, self._tag = render(data), text, tag
            end = time.monotonic()
            self._next = end + max(SHORTEST, (end - start) / SHARE)

    def _read(self) -> Json:
        with contextlib.redirect_stderr(io.StringIO()) as warnings:
            data = page_data(make_report(self.plan, self.store, self.command), live=True)
        for line in warnings.getvalue().splitlines():  # once, and not every second
            if line not in self._warned:
                self._warned.add(line)
                print(line, file=sys.stderr)
        return data


class PageServer(ThreadingHTTPServer):
    """Serves a live page at `/` and `/data.json`, to this machine alone.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 1024  # connections that wait to be accepted; more than the system allows are refused
    # Another's server on this port is an error to report, not one to share it with.
    allow_reuse_port = False

    def __init__(self, live_page: LivePage, port: int):
        super().__init__((HOST, port), _Handler)
        self.live_page = live_page

    def handle_error(self, request: object, client_address: object) -> None:
        """Prints one line per error; none where the browser has closed the connection."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            print(f"warning: a request failed: {one_line(error)}", file=sys.stderr)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "benchbench", ""
    timeout = 30

    def do_GET(self) -> None:
        # A name that an attacker points at 127.0.0.1 would let another page read this one.
        if self._host() not in (HOST, "localhost"):
            self._answer(HTTPStatus.FORBIDDEN, f"this server answers to {HOST} and localhost alone\n")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, self.server.live_page.page(), "text/html")
        elif self.path == "/data.json":
            text, tag = self.server.live_page.json()
            known = self.headers.get("If-None-Match", "")
            fresh = f'"{tag}"' in [each.strip().removeprefix("W/") for each in known.split(",")]
            status = HTTPStatus.NOT_MODIFIED if fresh else HTTPStatus.OK
            self._answer(status, "" if fresh else text, "application/json", tag)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there are / and /data.json\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _host(self) -> str | None:
        """The name in the request's Host, without its port; None where there is none, or more than one."""
        hosts = self.headers.get_all("Host") or []
        try:
            parts = urlsplit(f"//{hosts[0]}") if len(hosts) == 1 else None
            plain = parts is not None and parts.netloc == hosts[0] and "@" not in hosts[0]
            return parts.hostname if parts is not None and plain else None
        except ValueError:
            return None

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain", tag: str | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache" if tag else "no-store")
        if tag:
            self.send_header("ETag", f'"{tag}"')
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")  # a meta element cannot say this
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Writes nothing: the page asks every few seconds."""
