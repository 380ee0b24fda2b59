"""Commands about plugins: list them, write a new one, check that one keeps its contract."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from benchbench.cli.options import data_option, folder_type, json_option, plugin_option
from benchbench.errors import BenchBenchError, did_you_mean
from benchbench.suite.shipped import QUICKSTART
from benchbench.testing.scaffold import SCAFFOLDS

SUITE = "suite"  # the kind of `new` that is a file and no plugin


@click.command(name="list")
@click.argument("kind", required=False)
@plugin_option
@json_option
def list_(kind: str | None, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List components, or those of one KIND, with their parameters and origins.

    \b
    Examples:
      benchbench list
      benchbench list losses
      benchbench list datasets --json
    """
    from benchbench.cli.describe import components_json, components_text
    from benchbench.components import KINDS
    from benchbench.plugins import load_plugins

    if kind is not None and kind not in KINDS:
        plurals = {f"{name}s": name for name in KINDS if name != "loss"} | {"losses": "loss"}
        if kind not in plurals:
            raise BenchBenchError(f"unknown kind '{kind}'; {did_you_mean(kind, plurals)}")
        kind = plurals[kind]
    host = load_plugins(plugins)
    click.echo(json.dumps(components_json(host, kind), indent=1) if as_json else components_text(host, kind))


@click.command()
@plugin_option
@json_option
def plugins(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List plugins with their origins and components; of those that did not load, the reason.

    \b
    Examples:
      benchbench plugins
      benchbench plugins --plugin my_loss.py
    """
    from benchbench.cli.describe import plugins_json, plugins_text
    from benchbench.plugins import load_plugins

    host = load_plugins(plugins)
    click.echo(json.dumps(plugins_json(host), indent=1) if as_json else plugins_text(host))


@click.command()
@click.argument("kind", type=click.Choice((*SCAFFOLDS, SUITE)))
@click.argument("name")
@click.option("--folder", type=folder_type, help="Where it goes.  [default: benchbench-NAME; a suite: here]")
@click.option("--from", "base", metavar="SUITE", help=f"The suite to copy.  [default: {QUICKSTART}]")
def new(kind: str, name: str, folder: Path | None, base: str | None) -> None:
    """Write a package with a working KIND called NAME: an example to change, with its test.

    Of a suite: the file NAME.yaml, a copy of one that ships with a comment at each part.

    \b
    Examples:
      benchbench new suite leaves
      benchbench new suite leaves --from cifar
      benchbench new loss margin
      benchbench new dataset leaves --folder ~/plugins/leaves
    """
    if kind == SUITE:
        _new_suite(name, base or QUICKSTART, folder)
        return
    if base is not None:
        raise BenchBenchError(f"--from names the suite that a new suite copies; leave it out for a {kind}")
    from benchbench.plugins import load_plugins
    from benchbench.testing.scaffold import new_plugin

    package = new_plugin(kind, name, folder, load_plugins().registry)
    module = package / f"benchbench_{name}.py"
    click.echo(f"written to {package}; {module} is all of it")
    _print_commands(
        {
            f"benchbench check {package}": "checks that it keeps its contract",
            f"pytest {package}": "runs the same checks as tests",
            f"pip install -e {package}": "installs it for every suite",
            "benchbench list": "then lists it",
        }
    )


def _new_suite(name: str, base: str, folder: Path | None) -> None:
    from benchbench.suite.starter import new_suite

    path = new_suite(name, base, folder)
    click.echo(f"written to {path}, a copy of {base} to change")
    _print_commands(
        {
            f"benchbench plan {path}": "checks it, and says what it would run and cost",
            f"benchbench run {path}": "runs what is not done yet, and writes the tables",
            "benchbench list": "lists every component that a suite can name",
        }
    )


def _print_commands(comments: Mapping[str, str]) -> None:
    for command, comment in comments.items():
        click.echo(f"  {command:<40} # {comment}")


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A parameter; may be repeated.")
@click.option("--model", default="", help="The network of a model source, where it has several.")
@data_option
@plugin_option
@json_option
def check(
    targets: tuple[str, ...],
    settings: tuple[str, ...],
    model: str,
    data: Path,
    plugins: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check that plugins keep the contracts of what they offer.

    TARGET is a plugin file, a package's folder, an installed package's name, or KIND/NAME. A line for each check says
    ok, FAILED and what to change, or refused where a loss says that it cannot work on some networks. Exit code 0: none
    failed; 1: some did; 2: bad input.

    \b
    Examples:
      benchbench check benchbench_margin.py
      benchbench check plugins/benchbench-relation --json
      benchbench check loss/kd --set temperature=2
      benchbench check student/timm --model resnet18
    """
    from benchbench.testing.check import parse_setting
    from benchbench.testing.conformance import checks_of

    params = dict(parse_setting(setting) for setting in settings)
    findings = []
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints must not end up in `--json`
        checks = checks_of(*targets, params=params, model=model, data=data, plugins=plugins)
    for each in checks:
        with contextlib.redirect_stdout(sys.stderr):
            finding = each.run()
        findings.append(finding)
        if not as_json:
            click.echo(str(finding))
    failed = sum(finding.status == "failed" for finding in findings)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        click.echo(f"{len(findings)} checks, {failed or 'none'} failed")
    sys.exit(1 if failed else 0)
