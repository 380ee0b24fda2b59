"""Commands that only list or print import nothing heavy, and none imports torch before there is something to run."""

from __future__ import annotations

import json

import pytest

LIBRARIES = {"torch", "torchvision", "timm"}
HEAVY = LIBRARIES | {"matplotlib", "pandas", "scipy"}
PRINTED = HEAVY | {"pydantic", "rich", "ruamel.yaml"}

# Prints, for each command, the length of what it printed, and all modules that are there after it.
SCRIPT = """
import contextlib, io, json, sys
from benchbench.cli.main import main
results = []
for command in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(command)
    results.append([len(out.getvalue()), sorted(sys.modules)])
    print(out.getvalue(), file=sys.stderr)
print(json.dumps(results))
"""


@pytest.mark.whole_run
def test_a_command_imports_no_more_than_it_needs(cli, suite, fake_costs, python):
    """One process runs them one after another, those that need less first; it tells what is there after each."""
    cli("plan", suite)  # costs of networks are known from now on
    commands = [
        (["--help"], PRINTED),
        (["report", "--help"], PRINTED),
        (["docs", "suite"], PRINTED),
        (["list"], HEAVY),
        (["list", "losses", "--json"], HEAVY),
        (["plugins"], HEAVY),
        (["data", "quickstart"], LIBRARIES),
        (["plan", str(suite)], LIBRARIES),
    ]
    done = python("-c", SCRIPT, json.dumps([command for command, _ in commands]))
    assert done.code == 0, done.err
    for (command, unwanted), (length, modules) in zip(commands, json.loads(done.out), strict=True):
        assert length > 0, command
        assert unwanted & set(modules) == set(), command
    assert "benchbench.cli.main" in modules
    assert "2.64 T" in done.err  # the plan has the numbers of the cards that were kept
