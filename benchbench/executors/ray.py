"""Pilots on a Ray cluster: one actor each, with the work as its child; nothing is started again by Ray."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.errors import BenchBenchError, one_line
from benchbench.executors.base import DeviceRequest
from benchbench.executors.pilots import (
    NAME_VARIABLE,
    EngineError,
    PilotExecutor,
    PilotShape,
    WorkOrder,
    pilot_devices,
    remembered_devices,
    workers_on_cpu,
)
from benchbench.executors.ray_actor import CHILD, PilotActor
from benchbench.executors.ray_params import RayParams
from benchbench.hardware.devices import CORES_VARIABLE, SHARE_VARIABLE, SUBMITTED_VARIABLE, Devices
from benchbench.specs.pilots import Pilot

ANSWER_SECONDS = 10.0  # for a cluster to answer at all
GOOD_CODES = (0, 128 + signal.SIGTERM, -signal.SIGTERM)  # of `benchbench work`: it is done, or was told to end
SOME_FAILED = 1
INSTALL = "executor 'ray' needs Ray: pip install 'benchbench[ray]'"


@dataclass
class _Actor:
    """An actor, and the answers that are awaited from it.

    Attributes:
        name: of the pilot.
        handle: Ray's.
        place: the answer that it is ready, which may never come.
        code: the exit code of its work.
        ended: once it has.
    """

    name: str
    handle: Any
    place: Any
    code: Any
    log: str
    host: str = ""
    ended: Pilot | None = None


class RayExecutor(PilotExecutor):
    """Actors of this run, which end with it; nodes may come and go.

    Ray would run a task of a dead node again by itself, which nobody is charged for: that is off.
    """

    def __init__(self, order: WorkOrder):
        super().__init__(order)
        if not isinstance(order.params, RayParams):
            raise TypeError("it takes RayParams")
        self.params = order.params
        self._ray = _connect(self.params.address)
        self._actors: list[_Actor] = []

    @classmethod
    def find_devices(cls, request: DeviceRequest) -> Devices:
        params = request.params
        if not isinstance(params, RayParams):
            raise TypeError("it takes RayParams")
        kind = request.device.partition(":")[0]
        if kind == "auto":
            kind = "cuda" if params.gpus else "cpu"
        if kind == "cuda" and not params.gpus:
            raise BenchBenchError("executor 'ray': --device cuda needs a GPU for each worker, as in gpus: 1")
        known = remembered_devices(request.store, params.demand)
        name = params.device_name or (known.name if known else f"{'GPU' if kind == 'cuda' else 'CPU'} of ray")
        workers, threads = workers_on_cpu(params.cpus, request.jobs)
        shape = PilotShape(workers, threads=known.threads if known else threads)
        if kind == "cuda":
            jobs = request.jobs or 1
            shape = PilotShape(max(1, int(params.gpus)), jobs, jobs * max(1, round(1 / params.gpus)), shape.threads)
        return pilot_devices(kind, name, params.jobs or 1, shape)

    @property
    def demand(self) -> tuple[object, ...]:
        return self.params.demand

    @property
    def most(self) -> int:
        return self.params.jobs or max(1, self._room())

    def start(self, count: int) -> None:
        if not self._room():
            self._refuse()
        for _ in range(count):
            name = f"ray-{secrets.token_hex(4)}"
            log = str(self.order.folder / f"{name}.log")
            amounts = self.params.amounts()
            actor = self._ray.remote(
                num_cpus=amounts.pop("CPU"),
                num_gpus=amounts.pop("GPU", 0),
                memory=amounts.pop("memory", None),
                resources=amounts or None,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,
            )(PilotActor)
            handle = actor.remote(CHILD, self._arguments(), self._variables(name), log)
            self._actors.append(_Actor(name, handle, handle.place.remote(), handle.wait.remote(), log))

    def _arguments(self) -> list[str]:
        device = [] if self.params.gpus else ["--device", "cpu"]  # Ray leaves all GPUs in sight of what asks for none
        return ["work", *self.order.arguments, *device]

    def _variables(self, name: str) -> dict[str, str]:
        share = {SHARE_VARIABLE: str(self.params.gpus)} if 0 < self.params.gpus < 1 else {}
        own = {NAME_VARIABLE: name, SUBMITTED_VARIABLE: f"{time.time():.3f}", CORES_VARIABLE: str(self.params.cpus)}
        return {**share, **own}

    def pilots(self) -> list[Pilot]:
        try:
            return [self._look(actor) for actor in self._actors]
        except self._ray.exceptions.RayError as error:
            raise EngineError(f"executor 'ray': {one_line(error)}") from None

    def _look(self, actor: _Actor) -> Pilot:
        """The state of an actor, without waiting."""
        if actor.ended is not None:
            return actor.ended
        try:
            if not actor.host and self._is_there(actor.place):
                actor.host = self._ray.get(actor.place)
            if self._is_there(actor.code):
                code = self._ray.get(actor.code)
                reason = "" if code in GOOD_CODES else f"exit code {code} on {actor.host} (see {actor.log})"
                actor.ended = Pilot(actor.name, "ended", reason, blames_stage=code not in {*GOOD_CODES, SOME_FAILED})
        except self._ray.exceptions.ActorUnavailableError:  # its node is slow, or gone: the next answer will tell
            actor.code = actor.handle.wait.remote()
        except self._ray.exceptions.RayActorError as error:
            actor.ended = Pilot(actor.name, "ended", _death(str(error), actor), blames_stage=True)
        if actor.ended is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(actor.handle)  # its resources are free
            return actor.ended
        if actor.host:
            return Pilot(actor.name, "running", f"on {actor.host}")
        return Pilot(actor.name, "queued", "" if self._room() else f"no node has {_listed(self.params.amounts())}")

    def _is_there(self, answer: Any) -> bool:
        return bool(self._ray.wait([answer], timeout=0)[0])

    def withdraw(self) -> None:
        for actor in self._actors:
            if actor.ended is None and self._look(actor).state == "queued":
                self._ray.kill(actor.handle)
                actor.ended = Pilot(actor.name, "ended")

    def end(self, names: Sequence[str]) -> None:
        for actor in self._actors:
            if actor.name in names and actor.ended is None:
                actor.handle.terminate.remote()

    def cancel(self, seconds: float) -> None:
        with contextlib.suppress(EngineError, self._ray.exceptions.RayError):  # of a cluster that is gone
            self._end_all(time.monotonic() + seconds)
        for actor in self._actors:
            with contextlib.suppress(Exception):
                self._ray.kill(actor.handle)

    def _end_all(self, deadline: float) -> None:
        """Asks all that run to save and end, and waits for that until then."""
        running = [actor for actor in self._actors if self._look(actor).state == "running"]
        self.end([actor.name for actor in running])
        while time.monotonic() < deadline and any(actor.ended is None for actor in running):
            time.sleep(0.2)
            for actor in running:
                self._look(actor)

    def close(self) -> None:
        self._ray.shutdown()

    def _room(self) -> int:
        """Workers that the nodes would hold, were they all free."""
        return sum(_fits(node["Resources"], self.params.amounts()) for node in self._nodes())

    def _nodes(self) -> list[dict[str, Any]]:
        try:
            return [node for node in self._ray.nodes() if node["Alive"]]
        except Exception as error:  # of the connection, of one of many classes
            raise EngineError(f"executor 'ray': the cluster does not answer ({one_line(error)[:200]})") from None

    def _refuse(self) -> None:
        """Says what no node can give, and what there is."""
        nodes = [f"{node['NodeManagerAddress']}: {_listed(_countable(node['Resources']))}" for node in self._nodes()]
        raise EngineError(
            f"executor 'ray': no node has {_listed(self.params.amounts())}; the cluster has "
            f"{'; '.join(nodes) or 'no nodes'}"
        )


def _connect(address: str) -> Any:
    """The module of Ray, connected to a cluster.

    Raises:
        EngineError: it is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise EngineError(INSTALL) from None
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    except Exception as error:
        where = "here" if address == "auto" else f"at {address}"
        raise EngineError(
            f"executor 'ray': no cluster {where} ({one_line(error)[:200]}); start one with `ray start --head`, or give "
            "address"
        ) from None
    return ray


def _require_answer(address: str) -> None:
    """Raises OSError where nothing listens at HOST:PORT: Ray itself would try again for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()


def _fits(resources: Mapping[str, float], amounts: Mapping[str, float]) -> int:
    """Number of times that a demand fits into a node."""
    return int(min(resources.get(name, 0.0) / amount + 1e-9 for name, amount in amounts.items()))


def _countable(resources: Mapping[str, float]) -> dict[str, float]:
    """Resources that a demand may name; not the marks of a node itself."""
    own = ("node:", "object_store_memory", "accelerator_type:")
    return {name: amount for name, amount in sorted(resources.items()) if not name.startswith(own)}


def _listed(amounts: Mapping[str, float]) -> str:
    sizes = {name: f"{amount / 1e9:.3g} GB" if name == "memory" else f"{amount:g}" for name, amount in amounts.items()}
    return ", ".join(f"{size} {name}" for name, size in sizes.items())


def _death(text: str, actor: _Actor) -> str:
    """The reason of an actor's death, out of the paragraphs that Ray gives."""
    place = f" on {actor.host}" if actor.host else ""
    if "node has died" in text or "node was terminated" in text:
        return f"its node{f' {actor.host}' if actor.host else ''} died"
    lines = [line for line in map(one_line, text.splitlines()) if line]
    words = next((line for line in lines if line.startswith(("The actor", "Worker", "The process"))), "")
    if "creation task" in text:  # it did not even begin, for the reason in the last line
        words = lines[-1]
    return f"its actor{place} died ({words[:200] or 'Ray says no more'}; see {actor.log})"
