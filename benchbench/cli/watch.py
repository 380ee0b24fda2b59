"""A suite's page, served until Ctrl-C: `benchbench watch`."""

from __future__ import annotations

import contextlib
import json

import click

from benchbench.errors import BenchBenchError, one_line
from benchbench.experiment import Experiment


def serve(experiment: Experiment, port: int, as_json: bool) -> None:
    """Prints where the page is, and serves it until Ctrl-C.

    Raises:
        BenchBenchError: the port is taken.
    """
    from benchbench.reports.page.server import HOST, LivePage, PageServer

    try:
        server = PageServer(LivePage(experiment.plan, experiment.store, experiment.report_command()), port)
    except OSError as error:
        problem = f"cannot serve on {HOST}:{port} ({one_line(error)}); use another --port, or 0 for a free one"
        raise BenchBenchError(problem) from None
    with server, contextlib.suppress(KeyboardInterrupt):
        address = json.dumps({"url": server.url}) if as_json else f"{experiment.name} is at {server.url} (Ctrl-C ends)"
        click.echo(address)
        server.serve_forever(poll_interval=0.2)
