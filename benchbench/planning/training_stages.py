"""Stages that train a network of the suite: recipes put together, and the stages that every training needs."""

from __future__ import annotations

from dataclasses import dataclass

from benchbench.losses.needs import losses_with
from benchbench.planning.channels import require_augmenters
from benchbench.planning.dot import drops_dot
from benchbench.planning.draft import PlanDraft
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.planning.model import corpus_of, train_images
from benchbench.planning.recipe_checks import check_recipe
from benchbench.planning.shared_stages import Network, NetworkInputs, SharedStages, cohort_key
from benchbench.planning.source_hash import source_hash
from benchbench.planning.spec_builder import PLAIN_OPTIMIZERS
from benchbench.planning.tasks import check_task
from benchbench.specs.parts import NetworkSpec, Role
from benchbench.specs.stages import Method, TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.recipe import Recipe
from benchbench.suite.schema import DataEntry, ModelEntry


@dataclass(frozen=True)
class TrainingTask:
    """The training of one network of a suite.

    Attributes:
        role, label: the network.
        method: how it is trained.
        data: label of the data set, or of a corpus as `benchbench.planning.model.corpus_label` has it.
    """

    role: Role
    label: str
    method: Method
    data: str

    @property
    def loc(self) -> Loc:
        """The network's place in the suite."""
        return (f"{self.role}s", self.label)


class TrainingStages:
    """Adds stages that train to a plan."""

    def __init__(self, draft: PlanDraft, shared: SharedStages):
        self.draft, self.suite, self.shared = draft, draft.suite, shared
        self.code = source_hash("benchbench.stages.train")

    def entry(self, role: Role, label: str) -> ModelEntry:
        return self.suite.students[label] if role == "student" else self.suite.teachers[label]

    def data_entry(self, label: str) -> tuple[Loc, DataEntry]:
        """A data set or a corpus with its place in the suite."""
        corpus = corpus_of(label)
        if corpus is not None:
            return ("pretraining", corpus, "data"), self.suite.pretraining[corpus].data
        return ("data", label), self.suite.data[label]

    def data_seed(self, seed: int) -> int:
        return seed if self.suite.data_seed is None else self.suite.data_seed

    def merged_recipe(self, task: TrainingTask, *nearer: tuple[Loc, Recipe]) -> MergedRecipe:
        """The suite's recipe with all that is changed in it: by method, by data set, then by `nearer` parts."""
        recipes, (data_loc, data) = self.suite.recipes, self.data_entry(task.data)
        parts: list[tuple[Loc, Recipe]] = [
            (("recipes", task.method), getattr(recipes, task.method)),
            ((*data_loc, "recipe"), data.recipe),
            *nearer,
        ]
        whole = recipes.default.updated(*(part for _, part in parts))
        if task.method == "published":  # tested as it is, whether it knows its layers or not
            whole = whole.model_copy(update={"epochs": 0, "layer_decay": None})
        merged = MergedRecipe(whole, tuple(parts))
        require_augmenters(whole, merged.loc, task.data, self.draft)
        return merged

    def add(
        self,
        task: TrainingTask,
        merged: MergedRecipe,
        spec: TrainingSpec,
        label: str,
        soft_needs: dict[str, str] | None = None,
    ) -> str:
        """Adds a stage that trains, with the stages that its own network needs.

        Raises:
            SuiteError: its batches have less than an image for each of its devices.
        """
        soft_needs, devices = soft_needs or {}, 1
        if spec.recipe.epochs:
            self._check_parts(merged, spec, task.data)
            spec = check_recipe(self.draft.resolver.file, merged, spec, self.draft.info[task.data])
        if spec.model.head is not None:
            about = self.draft.info[task.data].task
            spec = check_task(self.draft.resolver.file, merged, spec, self.draft.resolver, about)
        network = Network(task.label, NetworkSpec(model=spec.model, role=spec.role), trained=True)
        if spec.trains_head_alone:
            # The trunk is frozen: its outputs are computed once, and the head trains on those.
            trunk = Network(task.label, network.spec, spec.needs.get("start"))
            inputs = NetworkInputs(task.data, spec.data, spec.recipe.inputs())
            features = self.shared.outputs(trunk, inputs, ("train", "validation", "test"))
            spec = spec.model_copy(update={"needs": {**spec.needs, "features": features}})
        elif spec.recipe.epochs:
            devices = self._devices(merged, spec, task.data)
            parts = devices * spec.recipe.accumulate
            share = spec.recipe.model_copy(update={"batch_size": -(-spec.recipe.batch_size // parts)})
            tuning = self.shared.tuning("student", network, share, self.steps(spec, task.data))
            soft_needs = {**soft_needs, **tuning}
        second_view = bool(losses_with("second_view", spec.loss, self.draft.resolver.registry))
        cohort = cohort_key(spec, second_view) if spec.kind in ("cell", "trial") else None
        key = self.draft.add(spec, label, soft_needs, cohort)
        if loc := _optimizer_loc(merged, spec):
            self.draft.optimizer_locs.setdefault(key, loc)
        if drops_dot(merged, spec):
            self.draft.without_dot.add(key)
        self.draft.take_devices(key, devices, merged.loc_of("devices"))
        return key

    def _devices(self, merged: MergedRecipe, spec: TrainingSpec, data: str) -> int:
        """Devices that train a network together, each with images of every part of every batch."""
        devices, parts, file = merged.recipe.devices, spec.recipe.accumulate, self.draft.resolver.file
        images = self._images_a_step(spec, data)
        if devices > images:
            problem = f"{devices} devices share batches of {images}, so that some would have no image"
            raise file.error(problem, merged.loc_of("devices"), f"take `devices: {images}` or fewer")
        if parts > 1 and devices > 1 and images % (parts * devices):
            problem = f"{devices} devices cannot share {parts} equal parts of a batch of {images} images"
            raise file.error(problem, merged.loc_of("accumulate"), f"take a batch_size that {parts * devices} divides")
        return devices

    def _check_parts(self, merged: MergedRecipe, spec: TrainingSpec, data: str) -> None:
        """Refuses parts of a batch without an image."""
        parts, images = spec.recipe.accumulate, self._images_a_step(spec, data)
        if parts > images:
            problem = f"a batch of {images} images has no {parts} parts"
            file = self.draft.resolver.file
            raise file.error(problem, merged.loc_of("accumulate"), f"take `accumulate: {images}` or less")

    def _images_a_step(self, spec: TrainingSpec, data: str) -> int:
        return min(spec.recipe.batch_size, train_images(self.draft.info[data], spec.data))

    def steps(self, spec: TrainingSpec, data: str) -> int:
        """Steps of a training."""
        images = train_images(self.draft.info[data], spec.data)
        return max(1, images // spec.recipe.batch_size) * spec.recipe.epochs


def _optimizer_loc(merged: MergedRecipe, spec: TrainingSpec) -> Loc | None:
    """The place of what only torch or timm can check of an optimiser; None where there is nothing."""
    recipe = spec.recipe
    if not recipe.epochs:
        return None
    if recipe.layer_decay is not None and spec.method != "linear_probe":
        return merged.loc_of("layer_decay")
    if recipe.optimizer_params:
        return merged.loc_of("optimizer_params")
    return None if recipe.optimizer in PLAIN_OPTIMIZERS else merged.loc_of("optimizer")
