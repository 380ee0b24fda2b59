"""What the page tells of each stage: state, reason, recipe, costs, environment, the end of its log, its curve."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from benchbench.errors import StoreError, one_line
from benchbench.plan.model import Plan, Stage
from benchbench.store import StageFolder, Store

LOG_BYTES = 4_000  # of one log
ALL_LOG_BYTES = 1_000_000
CURVE_POINTS = 200  # of one quantity of one stage
ALL_CURVE_POINTS = 50_000
TEXT, ITEMS = 300, 20  # longest text and longest list in a record


@dataclass(frozen=True)
class Bounds:
    """How much of each stage a page holds, so that its size grows slowly with their number.

    Attributes:
        log: bytes of the end of a log.
        points: epochs of a curve.
    """

    log: int
    points: int

    @classmethod
    def of(cls, stages: int) -> Bounds:
        """A fair share of the page for each of so many stages."""
        share = max(1, stages)
        return cls(
            log=min(LOG_BYTES, max(200, ALL_LOG_BYTES // share)),
            points=min(CURVE_POINTS, max(20, ALL_CURVE_POINTS // share)),
        )


@dataclass
class Pool:
    """Values that many stages share (a recipe, an environment), each once and shortened: `add` gives its place."""

    values: list[Any] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def add(self, value: Any) -> int:
        text = json.dumps(value, default=str)
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values.append(short(value))
        return self._places[text]


@dataclass
class StageReader:
    """Reads stages of one plan from a store; it counts what did not fit into `bounds`.

    Attributes:
        plan, store: what is read.
        bounds: how much of each stage is kept.
        active: whether a run holds the store; a stage that began in one that is gone is `interrupted`.
        pool: the sections of all stages, each once.
        cut_logs, thinned: how many logs and curves were shortened.
    """

    plan: Plan
    store: Store
    bounds: Bounds
    active: bool
    pool: Pool = field(default_factory=Pool)
    cut_logs: int = 0
    thinned: int = 0

    def read(self, stage: Stage) -> dict[str, Any]:
        """One stage as JSON; `sections` are places in the pool, by title."""
        folder = self.store.stage(stage.kind, stage.key)
        status, record, told = self._state(folder)
        return {
            "kind": stage.kind,
            "label": stage.label,
            "status": status,
            **{name: told[name] for name in ("reason", "started", "attempts") if told.get(name) is not None},
            "needs": {role: key[:16] for role, key in stage.needs.items()},
            "after": {role: key[:16] for role, key in stage.after.items()},
            "sections": {title: self.pool.add(part) for title, part in _sections(stage, record).items() if part},
            "log": self._log(folder),
            "curve": self._curve(folder),
        }

    def _state(self, folder: StageFolder) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """A stage's status, its record if it has one, and what its state file says."""
        try:
            record = folder.done()
        except StoreError as error:
            return "failed", {}, {"reason": one_line(error)}
        if record is not None:
            return "done", record if isinstance(record, dict) else {}, {}
        told = folder.read_state()
        status = told.get("status")
        if status == "running" and not self.active:
            status = "interrupted"
        return (status if status in ("running", "failed", "interrupted") else "missing"), {}, told

    def _log(self, folder: StageFolder) -> str:
        """The end of a log, from the beginning of a line where there is one."""
        try:
            with folder.log.open("rb") as stream:
                size = stream.seek(0, 2)
                stream.seek(max(0, size - self.bounds.log))
                text = stream.read(self.bounds.log).decode(errors="replace")
        except OSError:
            return ""
        if size <= self.bounds.log:
            return text
        self.cut_logs += 1
        return text.partition("\n")[2] or text

    def _curve(self, folder: StageFolder) -> dict[str, list[float | None]]:
        """A curve by column; of a long one every k-th epoch, and the first and the last."""
        try:
            lines = folder.curve.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        step = math.ceil(len(lines) / self.bounds.points)
        if step > 1:
            self.thinned += 1
            lines = [line for number, line in enumerate(lines, 1) if number % step == 0 or number in (1, len(lines))]
        rows = [row for row in _parsed(lines) if isinstance(row, dict) and _rounded(row.get("epoch")) is not None]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [_rounded(row.get(name)) for row in rows] for name in names}


def _parsed(lines: list[str]) -> list[Any]:
    """JSON by line, without the lines that are none, such as the last of a file that is being written."""
    try:
        return list(from_json(f"[{','.join(lines)}]"))
    except ValueError:
        return [row for line in lines for row in _parsed([line])] if len(lines) > 1 else []


def _rounded(value: Any) -> float | None:
    """Four digits, which a chart cannot show; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _sections(stage: Stage, record: dict[str, Any]) -> dict[str, Any]:
    """What a stage was asked and what it left, under the titles of the page."""
    asked = dict(stage.job)
    needless = {"needs", "model_kind"}  # shown as links, and by the stage's own label
    losses = {part["name"]: {"weight": part["weight"], **part["params"]} for part in asked.pop("loss", [])}
    metrics = record.get("metrics")
    if isinstance(metrics, dict):  # a bit an example, which says nothing to the eye
        metrics = {name: value for name, value in metrics.items() if name != "test_correct"}
    named = {title: asked.pop(name, None) for title, name in _ASKED.items()}
    return {
        "Result": metrics,
        "Cost": _cost(record.get("cost")),
        "Loss": losses,
        **named,
        "Other settings": {name: value for name, value in asked.items() if name not in needless},
        "Execution": record.get("execution"),
        "Kept outputs": record.get("outputs"),
        "Network as trained": record.get("model"),
        "Data as read": record.get("data"),
        "Teachers as read": record.get("teachers"),
        "Weights": {"sha256": record["weights_sha256"]} if record.get("weights_sha256") else None,
        "Environment": record.get("environment"),
    }


def _cost(cost: Any) -> Any:
    """Seconds last; as they were here and as they would have been alone, where these differ."""
    if not isinstance(cost, dict):
        return cost
    rest = dict(cost)
    here, alone = rest.pop("seconds", None), rest.pop("alone_seconds", None)
    if here == alone:
        rest.pop("alone_device_hours", None)
        return {**rest, "seconds": here}
    return {**rest, "seconds here": here, "seconds if alone": alone}


_ASKED = {
    "Recipe": "recipe",
    "Network": "model",
    "Teachers": "teachers",
    "Data": "data",
    "Components": "components",
}


def short(value: Any) -> Any:
    """The same value as JSON, with long texts and lists cut and marked."""
    if isinstance(value, dict):
        return {str(name): short(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        kept = [short(part) for part in value[:ITEMS]]
        return kept if len(value) <= ITEMS else [*kept, f"… ({len(value)} in all)"]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= TEXT else f"{text[:TEXT]}… ({len(text)} characters)"
