"""Stages that networks come from: adapted teachers, and pre-trainings that the suite runs itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from benchbench.errors import did_you_mean
from benchbench.planning.channels import for_data, require_start
from benchbench.planning.dot import check_dot
from benchbench.planning.model import corpus_label, corpus_of
from benchbench.planning.second_view import check_second_view
from benchbench.planning.shared_stages import Network, NetworkInputs
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.planning.tasks import check_loss, check_points, require_classes
from benchbench.planning.training_stages import TrainingStages, TrainingTask
from benchbench.specs.parts import LossSpec, NetworkSpec, Role, State, TeacherSpec
from benchbench.specs.stages import Method, TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.schema import PretrainingEntry, WeightedRef

AdaptedState = Literal["linear_probe", "finetune", "scratch", "published"]


@dataclass(frozen=True)
class TeacherParts:
    """The part of a training that its teachers decide.

    Attributes:
        specs: one for each teacher.
        needs, soft_needs: keys of stages, by role.
    """

    specs: tuple[TeacherSpec, ...]
    needs: dict[str, str]
    soft_needs: dict[str, str]


class NetworkStages:
    """Adds "teacher" and "pretraining" stages to a plan."""

    def __init__(self, training: TrainingStages):
        self.training, self.draft, self.suite = training, training.draft, training.suite
        self._teachers: dict[tuple[str, State, str], Network] = {}
        self._open: list[str] = []  # labels of pre-trainings that are being planned
        for label in self.suite.pretraining:
            if label in self.suite.arms:
                problem = f"'{label}' is an arm and a pre-training, so `start: {label}` could be either"
                raise self._error(problem, ("pretraining", label), "give one of them another label")

    def _error(self, problem: str, loc: Loc, hint: str = "") -> Exception:
        return self.draft.resolver.file.error(problem, loc, hint)

    def teacher(self, label: str, state: State, data: str) -> Network:
        """A teacher in a state, with the stage that its weights come from where the suite makes them."""
        network = self._teachers.get((label, state, data))
        if network is not None:
            return network
        stage = self.own_start("teacher", label) if state == "pretrained" else self._adaptation(label, state, data)
        builder = SpecBuilder(self.draft.resolver)
        loc = ("teachers", label)
        model = builder.model("teacher", self.suite.teachers[label], stage is None, loc)
        model = for_data(model, loc, data, self.draft, builder)
        require_start(model, stage, loc, self.draft)
        network = Network(label, NetworkSpec(model=model, role="teacher", state=state), stage)
        self._teachers[label, state, data] = network
        return network

    def teachers(
        self, networks: Sequence[tuple[Network, float]], spec: TrainingSpec, inputs: NetworkInputs
    ) -> TeacherParts:
        """The teachers of a training: their outputs from a stage of their own where views are kept, else run beside it.

        Args:
            networks: each with its weight.
            spec: of the training.
            inputs: its images.
        """
        parts = TeacherParts((), {}, {})
        # Maps between stages are too large to be kept.
        registry = self.draft.resolver.registry
        needs_maps = any("features" in registry.get("loss", loss.name).needs_of(loss.params) for loss in spec.loss)
        specs: list[TeacherSpec] = []
        for index, (network, weight) in enumerate(networks):
            check_points(spec, network.name, network.spec.model, self.draft)
            specs.append(TeacherSpec(model=network.spec.model, state=network.spec.state, weight=weight))
            if network.stage is not None:
                parts.needs[f"teacher{index}"] = network.stage
            if spec.recipe.views and not needs_maps:
                parts.needs[f"outputs{index}"] = self.training.shared.outputs(network, inputs)
            else:
                steps = self.training.steps(spec, inputs.label)
                parts.soft_needs.update(self.training.shared.tuning(f"teacher{index}", network, spec.recipe, steps))
        return TeacherParts(tuple(specs), parts.needs, parts.soft_needs)

    def own_start(self, role: Role, label: str, seed: int | None = None) -> str | None:
        """The pre-training that a network's own weights name; None where they are public, or there are none.

        Args:
            role, label: the network.
            seed: of the training that starts from it; None for the suite's `teacher_seed`.
        """
        weights = self.training.entry(role, label).weights
        if weights is None or weights.pretraining is None:
            return None
        loc = (f"{role}s", label, "weights", "pretraining")
        seed = self.suite.teacher_seed if seed is None else seed
        return self.pretraining(weights.pretraining, TrainingTask(role, label, "scratch", ""), seed, loc)

    def pretraining(self, label: str, network: TrainingTask, seed: int, loc: Loc) -> str:
        """The stage that pre-trains a network.

        Args:
            label: of the pre-training.
            network: role and label of the network.
            seed: of the training that starts from it.
            loc: that names the pre-training.

        Raises:
            SuiteError: there is none of that label, or it would need itself.
        """
        entry = self.suite.pretraining.get(label)
        if entry is None:
            known = did_you_mean(label, self.suite.pretraining) if self.suite.pretraining else "the suite has none"
            raise self._error(f"unknown pre-training '{label}'; {known}", loc)
        with self._guarded(label, loc):
            return self._pretraining(label, entry, network, seed if entry.seeds == "own" else entry.seed)

    @contextmanager
    def _guarded(self, label: str, loc: Loc) -> Iterator[None]:
        if label in self._open:
            circle = " -> ".join([*self._open, label])
            raise self._error(f"pre-training '{label}' would need itself: {circle}", loc)
        self._open.append(label)
        try:
            yield
        finally:
            self._open.pop()

    def _pretraining(self, label: str, entry: PretrainingEntry, network: TrainingTask, seed: int) -> str:
        corpus, loc = corpus_label(label), ("pretraining", label)
        method: Method = "distill" if entry.teacher else "scratch"
        task = TrainingTask(network.role, network.label, method, corpus)
        own = ((*task.loc, "recipe"), self.training.entry(task.role, task.label).recipe)
        merged = self.training.merged_recipe(task, own, ((*loc, "recipe"), entry.recipe))
        builder = SpecBuilder(self.draft.resolver)
        data = builder.data(entry.data, self.suite.selection, (*loc, "data"))
        labelled = self.draft.info[corpus].labelled
        spec = TrainingSpec(
            kind="pretraining",
            method=method,
            seed=seed,
            data_seed=self.training.data_seed(seed),
            view_seed=self.suite.view_seed,
            # Without labels nothing can be validated.
            data=data if labelled else data.model_copy(update={"validation": 0.0}),
            model=for_data(
                builder.model(task.role, self.training.entry(task.role, task.label), False, task.loc),
                task.loc,
                corpus,
                self.draft,
                builder,
            ),
            role=task.role,
            loss=self._losses(label, entry, builder),
            recipe=builder.recipe(merged, method),
            selection=self.suite.selection.rule if labelled else "last",
            components=builder.components,
            code=self.training.code,
        )
        resolver = self.draft.resolver
        spec = check_dot(resolver.file, merged, spec, resolver.registry)
        check_second_view(resolver, (*loc, "loss"), merged.recipe, spec)
        teachers = self._corpus_teacher(entry, spec, corpus)
        for teacher in teachers.specs:
            builder.use_network("teacher", teacher.model)
        spec = spec.model_copy(
            update={"teachers": teachers.specs, "needs": teachers.needs, "components": builder.components}
        )
        of_seed = f" | seed {seed}" if entry.seeds == "own" else ""
        key = self.training.add(
            task, merged, spec, f"pre-training of {task.label} | {label}{of_seed}", teachers.soft_needs
        )
        self.draft.corpora[key] = label
        return key

    def _losses(self, label: str, entry: PretrainingEntry, builder: SpecBuilder) -> tuple[LossSpec, ...]:
        """The losses of a pre-training, each checked against what a corpus and a teacher without a task give."""
        resolver, losses, loc = self.draft.resolver, [], ("pretraining", label, "loss")
        labelled = self.draft.info[corpus_label(label)].labelled
        for ref in entry.losses:
            here = (*loc, ref.name) if entry.loss else loc[:-1]
            component, spec = resolver.component("loss", ref.name, here), builder.loss(ref, here)
            needs, distils = component.needs_of(spec.params), component.reads_teacher
            if distils and entry.teacher is None:
                raise self._error(f"loss '{ref.name}' needs a teacher, and the method is supervised", here)
            if "teacher.logits" in needs:
                problem = f"loss '{ref.name}' needs the teacher's task logits, and no teacher is adapted to a corpus"
                raise self._error(problem, here, "take a loss of embeddings or maps, such as align_uniform")
            if not labelled and ("hard_labels" in needs or not distils):
                raise self._error(f"loss '{ref.name}' needs labels, and the corpus has none", here)
            check_loss(ref, here, corpus_label(label), self.draft)
            losses.append(spec)
        return tuple(losses)

    def _corpus_teacher(self, entry: PretrainingEntry, spec: TrainingSpec, corpus: str) -> TeacherParts:
        if entry.teacher is None:
            return TeacherParts((), {}, {})
        if entry.teacher not in self.suite.teachers:
            hint = did_you_mean(entry.teacher, self.suite.teachers) if self.suite.teachers else "the suite has none"
            loc = ("pretraining", corpus_of(corpus) or "", "teacher")
            raise self._error(f"unknown teacher '{entry.teacher}'; {hint}", loc)
        network = self.teacher(entry.teacher, "pretrained", corpus)
        return self.teachers([(network, 1.0)], spec, NetworkInputs(corpus, spec.data, spec.recipe.inputs()))

    def _adaptation(self, label: str, method: AdaptedState, data: str) -> str:
        entry = self.suite.teachers[label]
        task = TrainingTask("teacher", label, method, data)
        if method == "published":
            require_classes((*task.loc, "adapt"), data, "take `linear_probe` or `finetune`", self.draft)
        own = ((*task.loc, "recipe"), entry.recipe)
        merged = self.training.merged_recipe(task, own, ((*task.loc, "adapt", method), entry.adapt[method]))
        builder = SpecBuilder(self.draft.resolver)
        seed = self.suite.teacher_seed if entry.seed is None else entry.seed
        start = None if method == "scratch" else self.own_start("teacher", label, seed)
        if start is not None and method == "published":
            raise self._error(
                f"teacher '{label}' is pre-trained by this suite, and so nobody has published it",
                (*task.loc, "adapt"),
                "take `linear_probe` or `finetune`",
            )
        model = builder.model("teacher", entry, method != "scratch" and start is None, task.loc)
        model = for_data(model, task.loc, data, self.draft, builder)
        require_start(model, start, task.loc, self.draft)
        spec = TrainingSpec(
            kind="teacher",
            method=method,
            seed=seed,
            data_seed=self.training.data_seed(seed),
            view_seed=self.suite.view_seed,
            data=builder.data(self.suite.data[data], self.suite.selection, ("data", data)),
            model=model,
            role="teacher",
            loss=(builder.loss(WeightedRef(name="ce"), ()),),
            recipe=builder.recipe(merged, method),
            selection=self.suite.selection.rule,
            components=builder.components,
            code=self.training.code,
            needs={"start": start} if start else {},
        )
        return self.training.add(task, merged, spec, f"teacher {label} ({method}) | {data}")
