"""Content of the page for each stage: state, reason, recipe, costs, environment, the end of its log, its curve."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

from pydantic import JsonValue
from pydantic_core import from_json

from benchbench.errors import StoreError, one_line
from benchbench.plan.model import Stage
from benchbench.specs.parts import Json
from benchbench.specs.records import Cost, StageRecord
from benchbench.specs.stages import StageSpec, TrainingSpec
from benchbench.store import StageFolder, Store

LOG_BYTES = 4_000  # of one log
ALL_LOG_BYTES = 1_000_000
CURVE_POINTS = 200  # of one quantity of one stage
ALL_CURVE_POINTS = 50_000
TEXT, ITEMS = 300, 20  # longest text and longest list in a record


@dataclass(frozen=True)
class Bounds:
    """Limits to the part of each stage that a page holds, so that its size grows slowly with their number.

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
    """Values that many stages share (a recipe, an environment), each once and shortened: `add` gives its index."""

    values: list[JsonValue] = field(default_factory=list)
    _indices: dict[str, int] = field(default_factory=dict)

    def add(self, value: JsonValue) -> int:
        text = json.dumps(value)
        if text not in self._indices:
            self._indices[text] = len(self.values)
            self.values.append(short(value))
        return self._indices[text]


@dataclass
class StageReader:
    """Reads stages from a store, and counts logs and curves that did not fit into `bounds`.

    Attributes:
        store: with the stages.
        bounds: limits to each stage's part of the page.
        active: whether a run holds the store; a stage that began in one that is gone is `interrupted`.
        pool: the sections of all stages, each once.
        cut_logs, thinned: numbers of logs and of curves that were shortened.
    """

    store: Store
    bounds: Bounds
    active: bool
    pool: Pool = field(default_factory=Pool)
    cut_logs: int = 0
    thinned: int = 0

    def read(self, stage: Stage) -> Json:
        """One stage as JSON; `sections` are indices into the pool, by title."""
        folder = self.store.stage(stage.kind, stage.key)
        try:
            record = folder.done()
            state = self._state(folder) if record is None else {"status": "done"}
        except StoreError as error:
            record, state = None, {"status": "failed", "reason": one_line(error)}
        return {
            "kind": stage.kind,
            "label": stage.label,
            **state,
            "needs": {role: key[:16] for role, key in stage.needs.items()},
            "soft_needs": {role: key[:16] for role, key in stage.soft_needs.items()},
            "sections": {title: self.pool.add(part) for title, part in _sections(stage.spec, record).items() if part},
            "log": self._log(folder),
            "curve": self._curve(folder),
        }

    def _state(self, folder: StageFolder) -> Json:
        """The status of a stage without a record, and what its state file says beside."""
        state = folder.read_state()
        status = "interrupted" if state.status == "running" and not self.active else state.status or "missing"
        details = {"reason": state.reason, "started": state.started, "attempts": state.attempts or None}
        return {"status": status, **{name: value for name, value in details.items() if value is not None}}

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

    def _curve(self, folder: StageFolder) -> Json:
        """A curve by column; of a long one every k-th epoch, and the first and the last."""
        try:
            lines = folder.curve.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        step = math.ceil(len(lines) / self.bounds.points)
        if step > 1:
            self.thinned += 1
            lines = [line for epoch, line in enumerate(lines, 1) if epoch % step == 0 or epoch in (1, len(lines))]
        rows = [row for row in _parsed(lines) if isinstance(row, dict) and _rounded(row.get("epoch")) is not None]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [_rounded(row.get(name)) for row in rows] for name in names}


def _parsed(lines: list[str]) -> list[JsonValue]:
    """JSON by line, without the lines that are none, such as the last of a file that is being written."""
    try:
        return list(from_json(f"[{','.join(lines)}]"))
    except ValueError:
        return [row for line in lines for row in _parsed([line])] if len(lines) > 1 else []


def _rounded(value: JsonValue) -> float | None:
    """A number with four digits, as many as a chart can show; None for anything that is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _sections(spec: StageSpec, record: StageRecord | None) -> Json:
    """A stage's spec and its record, under the titles of the page."""
    settings = {name: part for name, part in spec.as_json().items() if name not in _UNLISTED}
    losses: Json = {}
    if isinstance(spec, TrainingSpec):
        losses = {loss.name: {"weight": loss.weight, **loss.params} for loss in spec.loss}
    settings.pop("loss", None)
    named = {title: settings.pop(name, None) for title, name in _SPEC_PARTS.items()}
    return {**_results(record), "Loss": losses, **named, "Other settings": settings}


def _results(record: StageRecord | None) -> Json:
    if record is None:
        return {}
    # Without the test images by bit, which say nothing to the eye.
    parts = record.model_dump(mode="json", exclude_none=True, exclude={"metrics": {"test_correct"}})
    sha256 = parts.get("weights_sha256")
    return {
        "Result": parts["metrics"],
        "Cost": _cost(record.cost),
        **{title: parts.get(name) for title, name in _RECORD_PARTS.items()},
        "Weights": {"sha256": sha256} if sha256 else None,
    }


def _cost(cost: Cost) -> Json:
    """Seconds last: in this run and as if alone, where these differ."""
    parts = cost.model_dump(mode="json", exclude_none=True, exclude={"seconds", "alone_seconds"})
    if cost.seconds == cost.alone_seconds:
        del parts["alone_device_hours"]
        return {**parts, "seconds": cost.seconds}
    return {**parts, "seconds here": cost.seconds, "seconds if alone": cost.alone_seconds}


# Titles of the page's sections, and fields of specs and records.
_SPEC_PARTS = {
    "Recipe": "recipe",
    "Network": "model",
    "Frozen network": "network",
    "Teachers": "teachers",
    "Data": "data",
    "Components": "components",
}
_RECORD_PARTS = {
    "Execution": "execution",
    "Cached outputs": "outputs",
    "Network as trained": "model",
    "Data as read": "data",
    "Teachers as read": "teachers",
    "Environment": "environment",
}
# Fields that the page has as links, or in the stage's own label.
_UNLISTED = {"needs", "role", "kind"}


def short(value: JsonValue) -> JsonValue:
    """The same value, with long texts and lists cut and marked."""
    if isinstance(value, dict):
        return {name: short(part) for name, part in value.items()}
    if isinstance(value, list):
        items = [short(part) for part in value[:ITEMS]]
        return items if len(value) <= ITEMS else [*items, f"… ({len(value)} in all)"]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and len(value) > TEXT:
        return f"{value[:TEXT]}… ({len(value)} characters)"
    return value
