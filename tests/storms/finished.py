"""The cheapest finished store: one student from scratch and one that is taught, of two seeds."""

from __future__ import annotations

import json
from pathlib import Path

from ruamel.yaml import YAML

from tests.conftest import TINY
from tests.running.commands import run

ARMS = {"scratch": {"method": "scratch"}, "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}}}


def write(folder: Path, **changes: object) -> Path:
    """The suite's file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tiny.yaml").open("w") as stream:
        YAML().dump(json.loads(json.dumps({**TINY, "arms": ARMS, **changes})), stream)
    return folder / "tiny.yaml"


def fill(folder: Path) -> None:
    """Runs the suite to its end in this process, with its store in `runs`."""
    run(write(folder), "--device", "cpu", "--data", folder / "data", cwd=folder)
