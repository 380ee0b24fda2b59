"""The command `doctor`: what this machine is like, and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchbench.cli.options import json_option, store_option

if TYPE_CHECKING:
    from benchbench.doctor.finding import Finding


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@store_option
@click.option("--quick", is_flag=True, help="Leave out losses, augmenters, loaders and steps, which take a minute.")
@json_option
def doctor(device: str, store: Path, quick: bool, as_json: bool) -> None:
    """Look at this machine before the first suite, and give a line of advice for each finding.

    It shows versions, devices, disks and the network; tries every loss, augmenter and loader on the device and compares
    it with the CPU; and times a training step in each way. Exit code 0: no problem; 1: there are some; 2: bad input.

    \b
    Examples:
      benchbench doctor
      benchbench doctor --device cuda:0 --store /big/runs
      benchbench doctor --quick --json
    """
    from benchbench.doctor.examination import examine

    findings: list[Finding] = []
    for finding in examine(device, store, components=not quick):
        if not as_json:
            _print(finding, findings)
        findings.append(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        click.echo(json.dumps({"problems": problems, "findings": [asdict(each) for each in findings]}, indent=1))
    else:
        _print_advice(findings)
    sys.exit(1 if problems else 0)


def _print(finding: Finding, before: Sequence[Finding]) -> None:
    """One line, under the heading of its section."""
    if not before or before[-1].section != finding.section:
        click.echo(("\n" if before else "") + finding.section.capitalize())
    level = "PROBLEM" if finding.level == "problem" else finding.level
    click.echo(f"  {level:<8} {finding.name}: {finding.text}")


def _print_advice(findings: Sequence[Finding]) -> None:
    """Advice, the problems first."""
    told = [each for level in ("problem", "note", "ok") for each in findings if each.level == level and each.advice]
    click.echo("\nAdvice" if told else "\nNothing is to be done.")
    for finding in told:
        click.echo(f"  {finding.name}: {finding.advice}")
