"""The tiny suite beside which commands run, and costs of networks without networks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

# What a network costs is another test's matter: these numbers make sums that can be checked by hand.
FLOPS = {"test_efficientnet": 10**9, "test_resnet": 5 * 10**9}


@pytest.fixture
def fake_costs(monkeypatch, tmp_path) -> list[int]:
    """Answers for the process that builds networks; the list fills with the number of requests of each call."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = []

    def run(command, *, input, **_):
        question = json.loads(input)
        asked.append(len(question["networks"]) + len(question["dry_runs"]))
        answers = {"costs": {}, "errors": {}, "refusals": dict.fromkeys(question["dry_runs"])}
        for key, request in question["networks"].items():
            name = request["model"]["name"]
            if name in FLOPS:
                answers["costs"][key] = {"parameters": 1, "flops": FLOPS[name], "dim": 8}
            else:
                answers["errors"][key] = f"no '{name}' here"
        return SimpleNamespace(returncode=0, stdout=f"a library's chatter\n{json.dumps(answers)}\n", stderr="")

    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=run))
    return asked


@pytest.fixture
def suite(tiny_suite, tmp_path, monkeypatch) -> Path:
    """The tiny suite, beside which commands run: their store is `runs` there."""
    monkeypatch.chdir(tmp_path)
    tiny_suite(tmp_path)
    return Path("suite.yaml")
