"""Every extension point of BenchBench, and nothing else.

A plugin is a module (or an object) with functions of these names, each marked with `@benchbench.hookimpl`. It is found
through the entry-point group `benchbench`, a suite's `plugins:` list, or `--plugin FILE`.

Registration hooks are pure and cheap: they return `Component` records and import neither torch nor data. Lifecycle
hooks are for side effects (progress, trackers); what they raise is reported once and never ends a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from benchbench.components import Component
    from benchbench.plan import Plan, Stage

PROJECT = "benchbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Registration:
    """One hook a kind of component. Each returns an iterable of `Component`."""

    @hookspec
    def benchbench_teachers(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Model sources for teachers. The target builds one: `(name: str, weights: Weights | None, **params) -> Trunk`.

        Example:
            `yield Component("my_zoo", "my_package.zoo:build", summary="the group's own networks")`
        """

    @hookspec
    def benchbench_students(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Model sources for students; the same contract as teachers."""

    @hookspec
    def benchbench_losses(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Losses. The target is a `benchbench.losses.base.Loss` class or a function
        `(student: Outputs, teacher: Outputs | None, batch: Batch, **params) -> Tensor | dict[str, Tensor]`.

        Example:
            `yield Component("cosine", "my_losses:cosine", needs=frozenset({"teacher"}))`
        """

    @hookspec
    def benchbench_augmenters(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Batched image transforms. The target is a function `(images, size, generator, **params) -> images` on float
        images [B, 3, H, W] in 0..1, drawing all randomness from the generator.
        """

    @hookspec
    def benchbench_datasets(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Data sets. The target loads one split: `(params, root: Path, split: "train" | "test") -> ImageSet`; the
        params class derives from `benchbench.data.info.DatasetParams`, whose `info` tells sizes without reading images.
        """

    @hookspec
    def benchbench_executors(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Where stages run. The target is a `benchbench.executors.base.Executor` class."""

    @hookspec
    def benchbench_reports(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Tables of a report. The target is a function `(results: pandas.DataFrame, plan: Plan) -> Table`."""


class Lifecycle:
    """What happens while a suite runs; all in the process that runs `benchbench`."""

    @hookspec
    def benchbench_plan_made(self, plan: Plan, done: list[str]) -> None:
        """The grid is expanded and keyed, and nothing has run yet; `done` are the keys of stages done before."""

    @hookspec
    def benchbench_stage_started(self, stage: Stage, worker: str) -> None:
        """A worker took the stage up, from its start or from its last checkpoint."""

    @hookspec
    def benchbench_progress(self, stage: Stage, progress: dict[str, Any]) -> None:
        """A stage moved on: `done` and `total` (steps), `epoch`, `epochs`, `loss`; at most a few times a second."""

    @hookspec
    def benchbench_stage_finished(self, stage: Stage, record: dict[str, Any]) -> None:
        """The stage's record is on disk."""

    @hookspec
    def benchbench_stage_failed(self, stage: Stage, reason: str) -> None:
        """The stage failed, or a stage that it needs did."""

    @hookspec
    def benchbench_run_finished(self, plan: Plan, failed: dict[str, str]) -> None:
        """Everything that could run has run; `failed` maps stage keys to reasons."""


REGISTRATION_HOOKS = {
    "teacher": "benchbench_teachers",
    "student": "benchbench_students",
    "loss": "benchbench_losses",
    "augmenter": "benchbench_augmenters",
    "dataset": "benchbench_datasets",
    "executor": "benchbench_executors",
    "report": "benchbench_reports",
}
