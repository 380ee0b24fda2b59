"""The claim of a run on itself, as others see it."""

from __future__ import annotations

import time
from contextlib import closing

from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.store import Store
from benchbench.store.claims import RUN, live_claims


def test_a_run_whose_claim_another_has_removed_takes_it_again(tmp_path, monkeypatch):
    """After a suspend that was longer than its lease, say."""
    monkeypatch.setenv("BENCHBENCH_LEASE_SECONDS", "1")
    store = Store(tmp_path / "runs")
    with closing(ClaimKeeper(store, "mine", slots=1)) as keeper:
        keeper.claims.folder(RUN, "mine").joinpath("1").unlink()
        deadline = time.monotonic() + 20
        while not live_claims(store.root):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert live_claims(store.root)["run-mine"].holder == keeper.claims.holder
    assert live_claims(store.root) == {}
