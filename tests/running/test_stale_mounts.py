"""Two machines on a network file system that remembers what was not there: two mounts of one folder stand for them."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchbench.hardware.devices import Devices
from benchbench.store import Claim, Claims, Store
from tests.running.shared_store import Run

STALE = "negative_timeout=20,entry_timeout=20,attr_timeout=20"  # seconds, as of NFS

pytestmark = pytest.mark.cluster


@pytest.fixture
def mounts(tmp_path) -> Iterator[tuple[Path, Path]]:
    """Two views of one folder."""
    source, folders = tmp_path / "source", (tmp_path / "a", tmp_path / "b")
    for folder in (source, *folders):
        folder.mkdir()
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed")
    mounted = []
    try:
        for folder in folders:
            done = subprocess.run(["bindfs", "-o", STALE, source, folder], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"bindfs cannot mount here: {done.stderr.strip()}")
            mounted.append(folder)
        yield folders
    finally:
        for folder in mounted:
            subprocess.run(["fusermount3", "-u", "-z", folder], check=False)


def test_claims_have_one_winner(mounts):
    runs = [Claims(folder, f"run{number}") for number, folder in enumerate(mounts * 2)]
    start, wins = threading.Barrier(len(runs)), []

    def compete(claims: Claims) -> None:
        for number in range(50):
            claims.look(claims.folder("cell", f"{number}"))  # so that it is remembered that there is none
            start.wait()
            if isinstance(claims.take("cell", f"{number}"), Claim):
                wins.append(number)

    threads = [threading.Thread(target=compete, args=(claims,)) for claims in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(50))


def test_every_stage_is_run_once_and_its_record_awaited(mounts, tiny_suite, plan_of, tmp_path):
    arms = {
        f"kd {weight}": {"method": "distill", "adapt": ["scratch"], "loss": {"ce": 1, "kd": weight}}
        for weight in (1, 2)
    }
    path = tiny_suite(tmp_path, arms={**arms, "scratch": {"method": "scratch"}}, data_seed=0)
    plan = plan_of(path, devices=Devices("cpu", "a processor", ("0",), 1))
    for folder in mounts:
        (folder / "stubs").mkdir(exist_ok=True)
        for stage in plan.stages.values():  # so that both remember that there is no record
            assert not Store(folder).stage(stage.kind, stage.key).record.exists()
    runs = [Run(plan, folder) for folder in mounts]
    outcomes = [each.outcome(240) for each in runs]
    assert [outcome.failed for outcome in outcomes] == [{}, {}]
    starts = Counter(file.name.split("-")[0] for file in (mounts[0] / "starts").iterdir())
    assert starts == Counter(list(plan.stages))
    assert sorted(key for outcome in outcomes for key in outcome.ran) == sorted(plan.stages)
