"""Stages that train a network of the suite: recipes put together, adapted teachers, and the stages that they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchbench.planning.draft import PlanDraft
from benchbench.planning.model import train_images
from benchbench.planning.shared_stages import Network, NetworkInputs, SharedStages, cohort_key
from benchbench.planning.source_hash import source_hash
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.specs.parts import NetworkSpec, Role, State
from benchbench.specs.stages import Method, TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.schema import ModelEntry, Recipe, WeightedRef

AdaptedState = Literal["linear_probe", "finetune", "scratch", "published"]


@dataclass(frozen=True)
class TrainingTask:
    """The training of one network of a suite.

    Attributes:
        role, label: the network.
        method: how it is trained.
        data: label of the data set.
    """

    role: Role
    label: str
    method: Method
    data: str

    @property
    def loc(self) -> Loc:
        """The network's place in the suite."""
        return (f"{self.role}s", self.label)


@dataclass(frozen=True)
class MergedRecipe:
    """A full recipe, and the place in the suite that its augmenters come from."""

    recipe: Recipe
    loc: Loc


class TrainingStages:
    """Adds "cell" and "teacher" stages to a plan."""

    def __init__(self, draft: PlanDraft, shared: SharedStages):
        self.draft, self.suite, self.shared = draft, draft.suite, shared
        self.code = source_hash("benchbench.stages.train")
        self._teachers: dict[tuple[str, State, str], Network] = {}

    def entry(self, role: Role, label: str) -> ModelEntry:
        return self.suite.students[label] if role == "student" else self.suite.teachers[label]

    def data_seed(self, seed: int) -> int:
        return seed if self.suite.data_seed is None else self.suite.data_seed

    def merged_recipe(self, task: TrainingTask, *nearer: tuple[Loc, Recipe]) -> MergedRecipe:
        """The suite's recipe with all that is changed in it: by method, by data set, then by `nearer` parts."""
        recipes = self.suite.recipes
        parts: list[tuple[Loc, Recipe]] = [
            (("recipes", task.method), getattr(recipes, task.method)),
            (("data", task.data, "recipe"), self.suite.data[task.data].recipe),
            *nearer,
        ]
        locs = [loc for loc, part in parts if "augment" in part.model_fields_set]
        whole = recipes.default.updated(*(part for _, part in parts))
        if task.method == "published":  # tested as it is
            whole = whole.model_copy(update={"epochs": 0})
        return MergedRecipe(whole, [*(locs[-1] if locs else ("recipes", "default")), "augment"])

    def add(self, task: TrainingTask, spec: TrainingSpec, label: str, soft_needs: dict[str, str] | None = None) -> str:
        """Adds a stage that trains, with the stages that its own network needs."""
        soft_needs = soft_needs or {}
        network = Network(task.label, NetworkSpec(model=spec.model, role=spec.role), trained=True)
        if spec.method == "linear_probe":
            # The trunk is frozen: its outputs are computed once, and the head trains on those.
            trunk = Network(task.label, network.spec)
            inputs = NetworkInputs(task.data, spec.data, spec.recipe.inputs())
            features = self.shared.outputs(trunk, inputs, ("train", "validation", "test"))
            spec = spec.model_copy(update={"needs": {**spec.needs, "features": features}})
        elif spec.recipe.epochs:
            tuning = self.shared.tuning("student", network, spec.recipe, self.steps(spec, task.data))
            soft_needs = {**soft_needs, **tuning}
        return self.draft.add(spec, label, soft_needs, cohort_key(spec) if spec.kind == "cell" else None)

    def steps(self, spec: TrainingSpec, data: str) -> int:
        """Steps of a training."""
        images = train_images(self.draft.info[data], spec.data)
        return max(1, images // spec.recipe.batch_size) * spec.recipe.epochs

    def teacher(self, label: str, state: State, data: str) -> Network:
        """A teacher in a state, with the stage that adapts it to a data set where one does."""
        network = self._teachers.get((label, state, data))
        if network is not None:
            return network
        # An adapted teacher's weights come from its stage, whose key stands for them.
        stage = None if state == "pretrained" else self._adaptation(label, state, data)
        builder = SpecBuilder(self.draft.resolver)
        model = builder.model("teacher", self.suite.teachers[label], stage is None, ("teachers", label))
        network = Network(label, NetworkSpec(model=model, role="teacher", state=state), stage)
        self._teachers[label, state, data] = network
        return network

    def _adaptation(self, label: str, method: AdaptedState, data: str) -> str:
        entry = self.suite.teachers[label]
        task = TrainingTask("teacher", label, method, data)
        own = ((*task.loc, "recipe"), entry.recipe)
        merged = self.merged_recipe(task, own, ((*task.loc, "adapt", method), entry.adapt[method]))
        builder = SpecBuilder(self.draft.resolver)
        seed = self.suite.teacher_seed if entry.seed is None else entry.seed
        spec = TrainingSpec(
            kind="teacher",
            method=method,
            seed=seed,
            data_seed=self.data_seed(seed),
            view_seed=self.suite.view_seed,
            data=builder.data(self.suite.data[data], self.suite.selection, ("data", data)),
            model=builder.model("teacher", entry, method != "scratch", task.loc),
            role="teacher",
            loss=(builder.loss(WeightedRef(name="ce"), ()),),
            recipe=builder.recipe(merged.recipe, method, merged.loc),
            selection=self.suite.selection.rule,
            components=builder.components,
            code=self.code,
        )
        return self.add(task, spec, f"teacher {label} ({method}) | {data}")
