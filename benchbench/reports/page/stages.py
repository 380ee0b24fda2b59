"""Content of the page for each stage: state, reason, recipe, costs, environment, the end of its log, its curve."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from benchbench.errors import StoreError, one_line
from benchbench.executors.stage_progress import read_progress
from benchbench.planning.model import Stage
from benchbench.reports.answer_metrics import confusions_of
from benchbench.specs.parts import Json
from benchbench.specs.records import Cost, StageRecord, TrainingRecord
from benchbench.specs.stages import StageSpec
from benchbench.store import Held, StageFolder, Store

LOG_BYTES = 4_000  # of one log
ALL_LOG_BYTES = 1_000_000
CURVE_POINTS = 200  # of one quantity of one stage
ALL_CURVE_POINTS = 50_000
TEXT, ITEMS = 300, 20  # longest text and longest list in a record
MOST_CLASSES = 30  # of a confusion matrix that a screen can show
# A part of a spec or of a record.
Part = BaseModel | Sequence[BaseModel] | Mapping[str, object]


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
    """Parts that many stages share (a recipe, an environment), each once and shortened: `add` gives its index."""

    values: list[JsonValue] = field(default_factory=list)
    _indices: dict[bytes, int] = field(default_factory=dict)

    def add(self, part: Part) -> int:
        text = to_json(part, by_alias=True, exclude_none=True)
        if text not in self._indices:
            self._indices[text] = len(self.values)
            self.values.append(short(from_json(text)))
        return self._indices[text]


@dataclass
class StageReader:
    """Reads stages from a store, and counts logs and curves that did not fit into `bounds`.

    Attributes:
        store: with the stages.
        bounds: limits to each stage's part of the page.
        live: who is at work on which stages, by KIND-KEY; one that began and has nobody is `interrupted`.
        pool: the sections of all stages, each once.
        cut_logs, thinned: numbers of logs and of curves that were shortened.
    """

    store: Store
    bounds: Bounds
    live: Mapping[str, Held]
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
            "sections": {title: self.pool.add(part) for title, part in _sections(stage.spec, record).items()},
            "log": self._log(folder),
            "curve": self._curve(folder),
            **_confusion(folder, record),
        }

    def _state(self, folder: StageFolder) -> Json:
        """The status of a stage without a record, and what its state file says beside."""
        state, held = folder.read_state(), self.live.get(f"{folder.path.parent.name}-{folder.path.name}")
        status = "interrupted" if state.status == "running" and held is None else state.status or "missing"
        report = read_progress(folder) if status == "running" else None
        details = {
            "reason": state.reason,
            "started": state.started,
            "attempts": state.attempts or None,
            "holder": str(held) if held and status == "running" else None,
            "progress": report.text if report else None,
            "last_step": report.at if report else None,
        }
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
        rows = [row for row in _parsed(lines) if isinstance(row, dict) and _is_number(row.get("epoch"))]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [_rounded(row.get(name)) for row in rows] for name in names}


def _confusion(folder: StageFolder, record: StageRecord | None) -> Json:
    """The confusion matrix of a tested network with few classes, and their names; nothing for any other stage."""
    if not isinstance(record, TrainingRecord) or not 1 < len(record.data.names) <= MOST_CLASSES:
        return {}
    with contextlib.suppress(StoreError):  # a damaged file; the tables say so
        if (counts := confusions_of(folder, record)) is not None:
            of = "pixels" if record.metrics.score == "miou" else "images"
            return {"confusion": {"classes": list(record.data.names), "counts": counts.tolist(), "of": of}}
    return {}


def _parsed(lines: list[str]) -> list[JsonValue]:
    """JSON by line, without the lines that are none, such as the last of a file that is being written."""
    try:
        return list(from_json(f"[{','.join(lines)}]"))
    except ValueError:
        return [row for line in lines for row in _parsed([line])] if len(lines) > 1 else []


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(value: JsonValue) -> float | None:
    """A number with four digits, as many as a chart can show; None for anything that is no finite number."""
    if type(value) is float:  # by the exact type, which is fast, and leaves out booleans
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value if type(value) is int else None


def _sections(spec: StageSpec, record: StageRecord | None) -> dict[str, Part]:
    """A stage's spec and its record, under the titles of the page; empty parts are left out."""
    fields = dict(vars(spec))
    losses = {loss.name: {"weight": loss.weight, **loss.params} for loss in fields.pop("loss", ())}
    settings = {name: value for name, value in fields.items() if name not in _SPEC_PARTS and name not in _UNLISTED}
    titled = {title: fields[name] for name, title in _SPEC_PARTS.items() if fields.get(name)}
    sections = {**_results(record), "Loss": losses, **titled, "Other settings": settings}
    return {title: part for title, part in sections.items() if part}


def _results(record: StageRecord | None) -> dict[str, Part]:
    if record is None:
        return {}
    fields = vars(record)
    # Without the test images by bit, which say nothing to the eye.
    metrics = {name: value for name, value in vars(record.metrics).items() if name != "test_correct"}
    titled = {title: fields[name] for name, title in _RECORD_PARTS.items() if fields.get(name)}
    weights = {"sha256": record.weights_sha256} if record.weights_sha256 else {}
    return {"Result": metrics, "Cost": _cost(record.cost), **titled, "Weights": weights}


def _cost(cost: Cost) -> dict[str, object]:
    """Seconds last: in this run and as if alone, where these differ."""
    fields = dict(vars(cost))
    here, alone = fields.pop("seconds"), fields.pop("alone_seconds")
    if here == alone:
        del fields["alone_device_hours"]
        return {**fields, "seconds": here}
    return {**fields, "seconds here": here, "seconds if alone": alone}


# Fields of specs and of records, and the titles of their sections.
_SPEC_PARTS = {
    "recipe": "Recipe",
    "model": "Network",
    "network": "Frozen network",
    "teachers": "Teachers",
    "data": "Data",
    "components": "Components",
}
_RECORD_PARTS = {
    "execution": "Execution",
    "outputs": "Cached outputs",
    "model": "Network as trained",
    "data": "Data as read",
    "teachers": "Teachers as read",
    "environment": "Environment",
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
