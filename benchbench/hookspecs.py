"""Every extension point of BenchBench, and nothing else.

A plugin is a module (or an object) with functions of these names, each marked with `@benchbench.hookimpl`. It comes
from the entry-point group `benchbench`, a suite's `plugins:` list, or `--plugin FILE`.

Registration hooks are pure and cheap: they return `Component` records and import neither torch nor data. Lifecycle
hooks are for side effects (progress, trackers); an exception in one is reported once and never ends a run.

Every example below is a whole plugin file; the tests load and run each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchbench.components import KINDS, hookspec
from benchbench.lifecycle_hooks import Lifecycle as Lifecycle

if TYPE_CHECKING:
    from benchbench.components import Component


class Registration:
    """One hook for each kind of component. Each returns an iterable of `Component`."""

    @hookspec
    def benchbench_teachers(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Model sources for teachers. The target builds one: `(name: str, weights: Weights | None, **params) -> Trunk`.

        Example:
            from benchbench import Component, hookimpl

            @hookimpl
            def benchbench_teachers():
                yield Component("patches", f"{__name__}:build", summary="one layer of 4 x 4 patches: patches/WIDTH")

            def build(name, weights, /):
                from torch import nn  # here, so that listing plugins never imports torch

                from benchbench.models.backbone import Trunk

                width = int(name or 32)
                module = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
                if weights is not None:
                    weights.load_into(module, classifier="head")
                return Trunk(module, dim=width, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        """

    @hookspec
    def benchbench_students(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Model sources for students; the same contract as teachers. Most sources are offered as both.

        Example:
            from benchbench import Component, hookimpl

            SOURCE = Component("shallow", f"{__name__}:build", summary="one convolution, as student or as teacher")

            @hookimpl
            def benchbench_students():
                yield SOURCE

            @hookimpl
            def benchbench_teachers():
                yield SOURCE

            def build(name, weights, /):
                from torch import nn

                from benchbench.errors import WeightsError
                from benchbench.models.backbone import Trunk

                if weights is not None:
                    raise WeightsError("shallow has no weights to start from")

                class Shallow(nn.Sequential):
                    def with_features(self, images):  # the maps between stages, for losses that read them
                        first, pool = self
                        maps = first(images)
                        return pool(maps), [maps]

                first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
                module = Shallow(first, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
                mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
                return Trunk(module, 16, mean, std, with_features=module.with_features)
        """

    @hookspec
    def benchbench_heads(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Heads of segmentations and detections.

        The target builds one: `(maps: list[MapShape], classes: int, **params) -> nn.Module`, for a backbone's maps
        between stages, shallow to deep. It takes those maps, [B, C, h, w] each, and gives logits [B, classes, h, w] of
        any size: losses and scores enlarge them to that of the images. Its `classifier`, where it has one, is the last
        layer, whose gradients `clip_mode: agc` leaves as they are.

        The head of a detection has `boxes=True` of its component, and is a `benchbench.models.detection.DetectionHead`:
        it gives logits [B, A, classes] and `BoxOutputs` at A points of the image, and has the loss of the task.
        Overlapping boxes are dropped by its base class.

        Example:
            from benchbench import Component, hookimpl

            @hookimpl
            def benchbench_heads():
                yield Component("last_map", f"{__name__}:build", summary="a 1x1 convolution of the last map")
                yield Component("near_boxes", f"{__name__}:build_boxes", summary="boxes count twice", boxes=True)

            def build(maps, classes):
                from torch import nn

                class LastMap(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.classifier = nn.Conv2d(maps[-1].channels, classes, 1)

                    def forward(self, features):
                        return self.classifier(features[-1])

                return LastMap()

            def build_boxes(maps, classes):
                from benchbench.models.fcos import FCOS

                class NearBoxes(FCOS):
                    def loss(self, outputs, boxes):
                        terms = super().loss(outputs, boxes)
                        return terms | {"boxes": 2 * terms["boxes"]}

                return NearBoxes(maps, classes, width=64, convolutions=1, finest=8, extra_levels=False)
        """

    @hookspec
    def benchbench_losses(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Losses. The target is a `benchbench.losses.base.Loss` class or a function
        `(student: Outputs, teacher: Outputs | None, batch: Batch, **params) -> Tensor | dict[str, Tensor]`. With
        `dense=True` of its component it works on segmentations too, with `boxes=True` on detections.

        Example:
            from pydantic import Field

            from benchbench import Component, Params, hookimpl

            class GapParams(Params):
                power: float = Field(2.0, ge=1, description="power of the difference")

            @hookimpl
            def benchbench_losses():
                needs = frozenset({"teacher.logits"})  # beside the student's logits and embedding
                yield Component("gap", f"{__name__}:gap", GapParams, "difference of the probabilities", needs)

            def gap(student, teacher, batch, *, power):
                p, q = (side.logits.float().softmax(dim=1) for side in (student, teacher))
                return (p - q.detach()).abs().pow(power).sum(dim=1).mean()
        """

    @hookspec
    def benchbench_augmenters(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Batched image transforms. The target is a function `(images, size, generator, **params) -> images` on float
        images [B, 3, H, W] in 0..1, or of other channels; all its random numbers come from the generator. An augmenter
        that `needs` `labels` mixes the images of a finished batch, and so their labels: `(images, generator, **params)
        -> (images, partner, share)`, with the index in the batch of the image that each is mixed with [B], int64, and
        its own share in the result [B], float32. A recipe names such augmenters last.

        Segmentations and detections take those alone whose params class says what becomes of masks and boxes, by its
        `masks` ("kept" or "moved") and `boxes` ("moved"): see `benchbench.components.Params`.

        One that `needs` `synthesis` is no transform: it generates images in a stage of its own, and a suite names it in
        `synthetic:`. Its target is a class, `benchbench.synthesis.base.ImageGenerator`; its params derive from
        `GeneratorParams` there.

        Example:
            from pydantic import Field

            from benchbench import Component, Params, hookimpl

            class GrayParams(Params):
                probability: float = Field(0.2, ge=0, le=1, description="of an image to lose its colours")

            @hookimpl
            def benchbench_augmenters():
                yield Component("gray", f"{__name__}:gray", GrayParams, "random grayscale")

            def gray(images, size, generator, *, probability):
                import torch

                # The generator is on the CPU: the same numbers whatever the training device.
                gray = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device) < probability
                return torch.where(gray, images.mean(dim=1, keepdim=True), images)
        """

    @hookspec
    def benchbench_datasets(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Data sets. The target loads one split: `(params, root: Path, split: "train" | "test") -> ImageDataset`; the
        params class derives from `benchbench.data.info.DatasetParams`, whose `info` gives sizes without reading images.

        Example:
            from functools import partial

            from pydantic import Field

            from benchbench import Component, hookimpl
            from benchbench.data.info import DataInfo, DatasetParams

            class ShadesParams(DatasetParams):
                per_class: int = Field(50, ge=1, description="images of each class, in each split")

                def info(self, root):
                    return DataInfo(classes=2, train=2 * self.per_class, test=2 * self.per_class)

            @hookimpl
            def benchbench_datasets():
                yield Component("shades", f"{__name__}:load", ShadesParams, "dark and light noise")

            def load(params, root, split):
                import numpy as np  # here, so that listing plugins stays quick

                from benchbench.data.images import ImageDataset

                random = np.random.default_rng(["train", "test"].index(split))
                labels = np.repeat(np.arange(2), params.per_class)
                dark = random.integers(0, 128, (len(labels), 16, 16, 3), dtype=np.uint8)
                array = dark + 127 * labels.astype(np.uint8)[:, None, None, None]
                return ImageDataset(labels, ("dark", "light"), partial(decode, array), array)

            def decode(array, index):
                from PIL import Image

                return Image.fromarray(array[index])
        """

    @hookspec
    def benchbench_executors(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Executors, which run stages. The target is a `benchbench.executors.base.Executor` class, or for jobs of a
        cluster a `benchbench.executors.pilots.PilotExecutor`.

        Example:
            import os
            from benchbench import Component, Params, hookimpl
            from benchbench.executors.local import LocalExecutor
            from pydantic import Field

            class NiceParams(Params):
                niceness: int = Field(10, description="of the workers; 19 is the least")

            @hookimpl
            def benchbench_executors():
                yield Component("nice", f"{__name__}:NiceExecutor", NiceParams, "as local, after all else on the CPU")

            class NiceExecutor(LocalExecutor):
                def __init__(self, devices, settings):
                    os.nice(settings.params.niceness)  # its workers inherit it
                    super().__init__(devices, settings)
        """

    @hookspec
    def benchbench_metrics(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Metrics: scores of a cell's stored answers on the test images, each a column of the results and of the table
        `metrics`; a suite is about one where its `metric:` names it. The target is a function `(answers, classes: int)
        -> float`, a finite number, 0..1 with 1 as the best. Answers are `benchbench.store.Predictions`; with
        `dense=True` the pixels of each image of a segmentation by class and predicted class [N, C, C], and with
        `boxes=True` the boxes of each image of a detection [N, L, 7], as `benchbench.statistics.detection` has them.
        Metrics are part of no key.

        Example:
            from benchbench import Component, hookimpl

            @hookimpl
            def benchbench_metrics():
                yield Component("top3_accuracy", f"{__name__}:top3", summary="the label is among the 3 likeliest")

            def top3(answers, classes):
                return (answers.classes[:, :3] == answers.labels[:, None]).any(1).mean()
        """

    @hookspec
    def benchbench_reports(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Tables of a report. The target is a function `(results: pandas.DataFrame, plan: Plan) -> Table | None`; None
        where the suite has nothing for it. One with a third argument, `store: Store`, may read the folders of
        stages: `store.stage("cell", key).read_curve()`.

        Example:
            from benchbench import Component, hookimpl

            @hookimpl
            def benchbench_reports():
                yield Component("progress", f"{__name__}:progress", summary="cells of each arm that are done")

            def progress(results, plan):
                from benchbench.reports.table import Entry, Table

                rows = []
                for arm, cells in results.groupby("row", sort=False):
                    done = int((cells.status == "done").sum())
                    rows.append([Entry(str(arm)), Entry(f"{done} of {len(cells)}")])
                return Table("progress", f"Progress of {plan.suite.name}", ["arm", "cells"], rows)
        """

    @hookspec
    def benchbench_figures(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Figures of a report. The target is a function `(results: pandas.DataFrame, plan: Plan, store: Store) ->
        Figure | None`; None where there is nothing to draw. It is called in the style of the other figures, and draws
        on a `matplotlib.figure.Figure`, never through pyplot.

        Example:
            from benchbench import Component, hookimpl

            @hookimpl
            def benchbench_figures():
                yield Component("spread", f"{__name__}:spread", summary="accuracy of every seed, by arm")

            def spread(results, plan, store):
                from benchbench.reports.figure import Figure
                from benchbench.reports.figures.style import PanelLayout, looks, panels

                done = results[results.status == "done"]
                if done.empty:
                    return None
                look = looks(results)
                handles = [look[row].handle(row, line=False) for row in look]
                figure, (axis,) = panels(["all"], handles, PanelLayout("test accuracy (%)", ""))
                for index, (row, style) in enumerate(look.items()):
                    accuracies = 100 * done[done["row"] == row].accuracy
                    axis.plot(accuracies, [-index] * len(accuracies), style.marker, color=style.color)
                axis.set_yticks([])
                return Figure("spread", f"Accuracy of every seed in {plan.suite.name}", figure)
        """

    @hookspec
    def benchbench_templates(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Selections of `benchbench report --template NAME`. The target is a function `(names: Sequence[str]) ->
        Sequence[str]`: from the names of all reports and figures to those of this template, in its order. A report and
        a figure of one name come together.

        Example:
            from benchbench import Component, hookimpl

            @hookimpl
            def benchbench_templates():
                yield Component("slide", f"{__name__}:slide", summary="one table and one figure")

            def slide(names):
                return [name for name in ("accuracy", "pareto") if name in names]
        """


# By the kind of component; the hooks of `Registration` stand in the order of the kinds.
_NAMES = [name for name in vars(Registration) if name.startswith("benchbench_")]
REGISTRATION_HOOKS = dict(zip(KINDS, _NAMES, strict=True))
