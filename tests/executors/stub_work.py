"""`benchbench work` with stages that sleep and write, and need no torch: claims, ledger and ends are the real ones.

`python stub_work.py -m benchbench work SUITE --store=DIR ...`, as a pilot calls it. What stages do is in
STORE/stub.json: `ticks` of 0.1 s that each takes, and in `stages`, by a part of a label, other `ticks` or an `end`
("fail", "kill"); with `together`, none begins before so many pilots have one. A stage goes on from the tick that it has
saved, which stands for a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import benchbench as bb
from benchbench.components import Component
from benchbench.errors import ClaimLostError
from benchbench.executors.base import Event, Executor
from benchbench.running.interrupts import Terminated
from benchbench.running.runner import RunOptions, run_plan
from benchbench.store import StageState, Store
from benchbench.store.fencing import fenced
from benchbench.testing.sample import sample_record

TICK = 0.1


class Sleeper(Executor):
    def __init__(self, devices, settings):
        super().__init__(devices, settings)
        self.store = Store(settings.store)
        self.content = json.loads((settings.store / "stub.json").read_text())
        self.present = settings.store / "present"
        self.open: dict[str, list] = {}
        self.events: list[Event] = []

    def submit(self, slot, stages):
        self.present.mkdir(exist_ok=True)
        (self.present / os.environ.get("BENCHBENCH_PILOT", "none")).touch()
        self.open[slot] = list(stages)
        for stage in stages:
            folder = self._folder(stage)
            folder.path.mkdir(parents=True, exist_ok=True)
            state = StageState(status="running", attempts=folder.read_state().attempts + 1, pid=os.getpid())
            with fenced(folder.path, stage.claim):
                folder.write_state(state)
            self.events += [Event("started", stage.key, slot), Event("ready", stage.key, slot)]

    def wait(self, timeout, handle):
        time.sleep(TICK)
        for slot, stages in list(self.open.items()):
            for stage in list(stages):
                event = self._tick(slot, stage)
                if event is not None:
                    stages.remove(stage)
                    self.events.append(event)
        events, self.events = self.events, []
        for event in events:
            handle(event)

    def _tick(self, slot, stage):
        if len(list(self.present.iterdir())) < self.content.get("together", 1):
            return None
        folder = self._folder(stage)
        ticks = folder.path / "ticks"
        count = len(ticks.read_text().splitlines()) + 1 if ticks.exists() else 1
        with ticks.open("a") as stream:
            stream.write(f"{os.environ.get('BENCHBENCH_PILOT', '')}\n")
        own = next((value for part, value in self.content.get("stages", {}).items() if part in stage.label), {})
        if count < own.get("ticks", self.content["ticks"]):
            return None
        if own.get("end") == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if own.get("end") == "fail":
            with fenced(folder.path, stage.claim):
                folder.write_state(folder.read_state().model_copy(update={"status": "failed", "reason": "as told"}))
            return Event("failed", stage.key, slot, reason="as told")
        try:
            with fenced(folder.path, stage.claim):
                folder.write_record(sample_record())
        except ClaimLostError as error:
            return Event("lost", stage.key, slot, reason=str(error))
        return Event("finished", stage.key, slot)

    def _folder(self, stage):
        return self.store.stage(stage.kind, stage.key)

    def close(self):
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    for name in ("store", "data", "device"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--max-hours", type=float)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--plugin", action="append", default=[])
    given, _ = parser.parse_known_args([word for word in sys.argv[1:] if word != "-m"])
    store, suite = Path(given.store), given.words[-1]
    if "refused" in json.loads((store / "stub.json").read_text()):
        sys.exit("error: as told")
    plan = bb.plan(suite, store=store, overrides=given.set, device="cpu", jobs=1, executor="local")
    seconds = None if given.max_hours is None else given.max_hours * 3600
    try:
        run_plan(
            plan.plan,
            plan.host,
            plan.store,
            Component("sleeper", "tests.executors.stub_work:Sleeper"),
            RunOptions(Path(given.data), max_seconds=seconds),
        )
    except Terminated:
        print("told to end")


if __name__ == "__main__":
    main()
