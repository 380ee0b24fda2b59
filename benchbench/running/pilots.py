"""A run by pilots: jobs of a cluster that take stages from the store. This process watches, and holds no device."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator

from benchbench.components import Component
from benchbench.costs.estimate import MEASURING
from benchbench.costs.ledger import new_run
from benchbench.costs.ledger_lines import allocations
from benchbench.errors import ClaimLostError, one_line
from benchbench.executors.pilots import EngineError, PilotExecutor, RememberedDevices, WorkOrder, remember_devices
from benchbench.planning.model import Plan, Stage
from benchbench.plugins import PluginHost
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.running.elsewhere import Elsewhere, claim_name
from benchbench.running.interrupts import RememberedInterrupts, Terminated
from benchbench.running.lifecycle import LifecycleHooks
from benchbench.running.schedule import Outcome, Schedule
from benchbench.specs.elsewhere import StageElsewhere
from benchbench.specs.pilots import Pilot
from benchbench.store import Claim, Store
from benchbench.store.fencing import fenced

POLL_SECONDS = 0.5
SAVE_SECONDS = 30.0  # for the checkpoints of pilots that are asked to end
SETTLE_SECONDS = 30.0  # for pilots to see that nothing is left
IDLE_SECONDS = 60.0  # without a stage, after which a pilot gives its devices back
MOST_IDLE = 3  # pilots in a row that end before they have begun a stage
MOST_DEATHS = 3  # pilots that end with one stage in hand, and may have ended of it


def run_on_pilots(plan: Plan, host: PluginHost, store: Store, executor: Component, order: WorkOrder) -> Outcome:
    """Has pilots run all stages of a plan that are not done yet.

    Ctrl-C ends them, with checkpoints. Any other end of this process leaves those that their engine keeps: the next
    run takes them over.

    Args:
        plan: the stages.
        host: plugins, whose lifecycle hooks are called.
        store: folder of results.
        executor: the component of a `PilotExecutor`.
        order: what each pilot does.

    Raises:
        StoreError: the store is of another format, or cannot be written.
        EngineError: the engine is not there, or refuses what it is asked for.
    """
    store.open()
    hooks = LifecycleHooks(host)
    schedule = Schedule(plan, store, max_cohort=1)
    hooks.plan_made(plan, schedule.outcome.reused, schedule.outcome.failed)
    if schedule.waiting:
        with (
            RememberedInterrupts() as interrupts,
            contextlib.closing(executor.load()(order)) as engine,
            contextlib.closing(ClaimKeeper(store, new_run(), slots=0)) as keeper,
        ):
            run = PilotRun(schedule, store, hooks, keeper, engine)
            try:
                run.to_end(interrupts)
            except Terminated:
                engine.leave(SAVE_SECONDS)
                raise
            except (KeyboardInterrupt, EngineError):
                engine.cancel(SAVE_SECONDS)
                raise
    hooks.run_finished(plan, schedule.outcome.failed)
    return schedule.outcome


class PilotRun:
    """The stages of a schedule, all of which run elsewhere.

    Args:
        schedule: with the stages.
        store: folder of results.
        hooks: of plugins.
        keeper: of the claims of this run, which takes none but those of stages that it fails.
        engine: that keeps pilots.
    """

    def __init__(
        self, schedule: Schedule, store: Store, hooks: LifecycleHooks, keeper: ClaimKeeper, engine: PilotExecutor
    ):
        self.schedule, self.store, self.hooks, self.keeper, self.engine = schedule, store, hooks, keeper, engine
        self.elsewhere = Elsewhere(schedule, store, keeper.claims)
        self._pilots: dict[str, Pilot] = {}
        self._holders: set[str] = set()
        self._holder_of: dict[str, str] = {}
        self._idle_since: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._ended_stages = self._idle = 0
        self._trouble = ""

    def to_end(self, interrupts: RememberedInterrupts) -> None:
        """Watches until all stages have ended.

        Raises:
            EngineError: the engine will start no pilot, or they end before they begin a stage.
        """
        while self._is_open():
            interrupts.check()
            self._look()
            for stage, needed in self.schedule.blocked():
                self._report_failure(stage, f"needs '{needed.label}', which failed")
            self._keep_pilots()
            time.sleep(POLL_SECONDS)
        self._settle(interrupts)

    def _is_open(self) -> bool:
        """True where stages are left; measurements for other devices than the pilots turned out to have are none."""
        left = [*self.schedule.waiting.values(), *self.schedule.elsewhere.values()]
        return any(stage.kind not in MEASURING for stage in left) or (bool(left) and not self._idle)

    def _look(self, at_once: bool = False) -> None:
        for stage, news in self.elsewhere.look(at_once):
            self._hear(stage, news)
        names = self.keeper.claims.names()
        for stage in self.schedule.ready():
            if claim_name(stage) in names and (failure := self._failure(stage)):
                self._hear(stage, failure)

    def _failure(self, stage: Stage) -> StageElsewhere | None:
        """The end of a stage that a pilot has claimed and given up between two looks."""
        held = self.keeper.claims.look(self.keeper.claims.root / claim_name(stage))
        news = self.elsewhere.end_of(stage) if held and held.state == "released" else None
        return news if news and news.status == "failed" else None

    def _hear(self, stage: Stage, news: StageElsewhere) -> None:
        self._holders.add(news.holder)
        self._holder_of[stage.key] = news.holder
        if news.status != "running":
            del self._holder_of[stage.key]
        match news.status:
            case "running" if stage.key not in self.schedule.elsewhere:
                self.schedule.leave_to_others(stage)
            case "finished":
                self._ended_stages += 1
                self.schedule.finish_elsewhere(stage)
            case "failed":
                self._ended_stages += 1
                self.schedule.fail(stage, news.reason)
            case "released":
                self.schedule.wait_again(stage)
        self.hooks.stage_elsewhere(stage, news)

    def _keep_pilots(self) -> None:
        """Asks for as many pilots as there is work for, and deals with those that have ended."""
        alive = self._alive()
        if alive is None or not self._is_open():
            return
        hopeless = [pilot for pilot in alive if pilot.hopeless]
        if hopeless and len(hopeless) == len(alive):
            raise EngineError(f"the cluster will not start a job: {hopeless[0].reason}; ask for what it has")
        most = self.engine.most
        slots = max(1, len(self.schedule.plan.devices.slots) // most)
        stages = len(self.schedule.ready()) + len(self.schedule.elsewhere)
        if (wanted := min(most, math.ceil(stages / slots))) > len(alive):
            self.engine.start(wanted - len(alive))
        if unused := self._unused(alive):
            with contextlib.suppress(EngineError):
                self.engine.end(unused)

    def _unused(self, alive: list[Pilot]) -> list[str]:
        """Pilots that have had no stage for a while and will find none, since the others have all that can run."""
        now, busy = time.monotonic(), set(self._holder_of.values())
        if self.schedule.ready():
            self._idle_since.clear()
        for pilot in alive:
            if pilot.state != "running" or any(f"(job {pilot.name})" in holder for holder in busy):
                self._idle_since.pop(pilot.name, None)
            else:
                self._idle_since.setdefault(pilot.name, now)
        names = [name for name, since in self._idle_since.items() if now - since > IDLE_SECONDS]
        for name in names:
            self._idle_since[name] = now  # asked again after a while
        return names

    def _alive(self) -> list[Pilot] | None:
        """Pilots that have not ended; None where the engine does not answer."""
        try:
            pilots = self.engine.pilots()
        except EngineError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                self.hooks.pilot_changed(Pilot("?", "queued", self._trouble))
            return None
        for pilot in pilots:
            if self._pilots.get(pilot.name) != pilot:
                self._pilots[pilot.name] = pilot
                self.hooks.pilot_changed(pilot)
                if pilot.state == "ended":
                    self._bury(pilot)
        return [pilot for pilot in pilots if pilot.state != "ended"]

    def _bury(self, pilot: Pilot) -> None:
        """Frees the stages of a pilot that has ended; those that may have been its end fail at some time."""
        self._look(at_once=True)  # it may have finished a stage since the last look
        self._remember_devices(pilot)
        stages = list(self._stages_of(pilot))
        for stage in stages:
            self._deaths[stage.key] += pilot.blames_stage
            if self._deaths[stage.key] >= MOST_DEATHS:
                self._fail(stage, f"its job ended {MOST_DEATHS} times; the last: {pilot.reason}")
        begun = bool(stages) or self._ended_stages or any(f"(job {pilot.name})" in each for each in self._holders)
        self._idle, self._ended_stages = 0 if begun else self._idle + 1, 0
        if self._idle >= MOST_IDLE and self._is_open():
            why = pilot.reason or f"it found nothing to do; see its log in {self.engine.order.folder}"
            raise EngineError(f"{MOST_IDLE} jobs in a row ended before they began a stage: {why}")

    def _stages_of(self, pilot: Pilot) -> Iterator[Stage]:
        """The stages that a pilot has in hand, of which it is relieved."""
        claims = self.keeper.claims
        stages = {claim_name(stage): stage for stage in self.schedule.plan.stages.values()}
        for name in sorted(claims.names()):
            folder = claims.root / name
            held = claims.look(folder)
            if held and held.holder and held.holder.process.job == pilot.name and held.state != "released":
                claims.expel(folder, held.number)
                if name in stages and stages[name].key not in self.schedule.outcome.failed:
                    yield stages[name]

    def _remember_devices(self, pilot: Pilot) -> None:
        for line in allocations(self.store, pilot.name):
            threads = round(line.num_devices) if line.unit == "CPU-hours" else self.schedule.plan.devices.threads
            with contextlib.suppress(OSError):
                devices = RememberedDevices(line.device, threads)
                remember_devices(self.store.root, self.engine.demand, devices)

    def _settle(self, interrupts: RememberedInterrupts) -> None:
        """Lets pilots see that nothing is left, and ends those that do not."""
        with contextlib.suppress(EngineError):
            self.engine.withdraw()
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._alive() and time.monotonic() < deadline:
            interrupts.check()
            time.sleep(POLL_SECONDS)
        if self._alive():
            self.engine.cancel(SAVE_SECONDS)

    def _fail(self, stage: Stage, reason: str) -> None:
        """Fails a stage, and writes down why, unless a pilot has it in hand."""
        claim = self.keeper.take(stage.kind, stage.key)
        if isinstance(claim, Claim):
            folder = self.store.stage(stage.kind, stage.key)
            with contextlib.suppress(OSError, ClaimLostError), fenced(folder.path, claim):
                folder.path.mkdir(parents=True, exist_ok=True)
                folder.write_state(folder.read_state().model_copy(update={"status": "failed", "reason": reason}))
            self.keeper.give_back(stage.key, finished=False)
        self._report_failure(stage, reason)

    def _report_failure(self, stage: Stage, reason: str) -> None:
        self.schedule.fail(stage, one_line(reason))
        self.hooks.stage_failed(stage, one_line(reason))
