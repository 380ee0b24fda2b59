"""A suite becomes a plan: every cell of the grid, and the stages that they need, each once and each with a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchbench.components import Registry
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.errors import DataError
from benchbench.hardware.devices import Devices
from benchbench.planning.channels import for_data, for_rgb, require_start
from benchbench.planning.data_checks import checked_part
from benchbench.planning.dot import check_dot
from benchbench.planning.draft import PlanDraft
from benchbench.planning.grid import Grid, GridPoint, TeacherSet
from benchbench.planning.keys import identity, key_of_identity
from benchbench.planning.limits import limited_points
from benchbench.planning.model import PRETRAINED_METHODS, Cell, CellTrial, Plan, Stage, corpus_label
from benchbench.planning.network_stages import NetworkStages, TeacherParts
from benchbench.planning.presets import with_presets
from benchbench.planning.pretraining import published_recipe
from benchbench.planning.published import check_published
from benchbench.planning.resolve import Resolver
from benchbench.planning.second_view import check_second_view
from benchbench.planning.shared_stages import NetworkInputs, SharedStages, with_data_seed
from benchbench.planning.source_hash import source_hash
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.planning.synthetic_stages import SyntheticStages
from benchbench.planning.tasks import check_arm, with_metric
from benchbench.planning.training_stages import TrainingStages, TrainingTask
from benchbench.specs.parts import LossSpec, RecipeSpec, Role
from benchbench.specs.stages import OTHER_SEEDS, TRIAL, CalibrationSpec, TrainingSpec
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import Arm, DataEntry, PreTraining


def make_plan(file: SuiteFile, registry: Registry, devices: Devices, data_root: Path) -> Plan:
    """Expands a suite.

    Args:
        file: the suite.
        registry: the components that it may name.
        devices: the ones that it would run on.
        data_root: the folder that downloads go to.

    Raises:
        SuiteError: a name, a parameter or a combination that cannot work, before any compute is spent.
    """
    file = with_presets(file, Resolver(file, registry, data_root))
    resolver = Resolver(file, registry, data_root)
    info = {label: _data_info(label, entry, ("data", label), resolver) for label, entry in file.suite.data.items()}
    for label, info_of in info.items():
        if not info_of.labelled:
            hint = "name it in a `pretraining:` of `method: distill`"
            raise file.error(f"data set '{label}' has no labels", ("data", label, "source"), hint)
    for label, pretraining in file.suite.pretraining.items():
        loc = ("pretraining", label, "data")
        info[corpus_label(label)] = _data_info(label, pretraining.data, loc, resolver)
    file = with_metric(file, info, registry)
    draft = PlanDraft(file.suite, resolver, devices, info)
    grid = Grid(file, resolver)
    builder = CellBuilder(draft, grid)
    points = limited_points(file, grid.points())
    cells = [cell for point in points for cell in builder.cells(point)]
    check_published(file, cells)
    of_stages = draft.corpora, draft.device_locs, draft.optimizer_locs, draft.without_dot
    return Plan(file, registry, devices, draft.stages, cells, info, *of_stages)


def _data_info(label: str, entry: DataEntry, loc: Loc, resolver: Resolver) -> DataInfo:
    file, source = resolver.file, [*loc, "source"]
    component = resolver.component("dataset", entry.source.name, source)
    params = resolver.params(component, entry.source.params, [*source, entry.source.name])
    assert isinstance(params, DatasetParams)
    try:
        info = params.info(resolver.data_root)
    except DataError as error:
        raise file.error(str(error), source) from None
    if entry.classes is not None and entry.classes != info.classes:
        problem = f"data set '{label}' has {info.classes} classes, not {entry.classes}"
        raise file.error(problem, [*loc, "classes"])
    by_class = info.task == "classification"
    if by_class and entry.per_class is not None and entry.per_class > (info.fewest or info.train // info.classes):
        has = f"{info.fewest} in its smallest class" if info.fewest else f"about {info.train // info.classes} a class"
        problem = f"per_class: {entry.per_class} asks for more than there are; '{label}' has {has}"
        raise file.error(problem, [*loc, "per_class"])
    return checked_part(label, entry, info, loc, file)


class CellBuilder:
    """Adds the stages of cells to a plan."""

    def __init__(self, draft: PlanDraft, grid: Grid):
        self.draft, self.suite, self.grid = draft, draft.suite, grid
        self.shared = SharedStages(draft)
        self.training = TrainingStages(draft, self.shared)
        self.networks = NetworkStages(self.training)
        self.synthetic = SyntheticStages(draft, self.shared, self.networks.teacher)
        self._stages: dict[tuple[GridPoint, int], tuple[str, RecipeSpec]] = {}

    def cells(self, point: GridPoint) -> Iterator[Cell]:
        """The cells of a point, one for each seed of the suite: all but the seed is resolved once."""
        first = self._first_cell(point)
        yield first
        if point.trials:
            for seed in self.suite.seeds[1:]:
                key = self._stage(point, seed)[0]
                yield replace(first, seed=seed, stage=key, trials=self._cell_trials(point, seed))
            return
        stage = self.draft.stages[first.stage]
        content = identity(stage.spec)
        for seed in self.suite.seeds[1:]:
            if self._start(point, seed) != stage.needs.get("start"):
                yield replace(first, seed=seed, stage=self._stage(point, seed)[0])
                continue
            seeds = {"seed": seed, "data_seed": self.training.data_seed(seed)}
            key = key_of_identity({**content, **seeds})
            if key not in self.draft.stages:
                self.draft.stages[key] = Stage(
                    stage.spec.model_copy(update=seeds),
                    key,
                    f"{point.label} | seed {seed}",
                    stage.needs,
                    stage.soft_needs,
                    stage.cohort and with_data_seed(stage.cohort, seeds["data_seed"]),
                )
            self.draft.take_devices(key, stage.devices, self.draft.device_locs.get(stage.key, ()))
            yield replace(first, seed=seed, stage=key)

    def _first_cell(self, point: GridPoint) -> Cell:
        arm, teacher_set, seed = self.grid.arm(point), point.teacher_set, self.suite.seeds[0]
        stage, recipe = self._stage(point, seed)
        public = self._public_start(point)
        pretraining = published_recipe(self.suite.students[point.student]) if public else None
        return Cell(
            arm=point.arm,
            method=arm.method,
            data=point.data,
            student=point.student,
            seed=seed,
            teachers=teacher_set.teachers if teacher_set else (),
            state=teacher_set.state if teacher_set else None,
            row=point.row,
            ladder=point.ladder,
            stage=stage,
            calibration=self._calibration("student", point.student, pretraining, recipe),
            public_start=public,
            pretraining=pretraining,
            teacher_pretraining=self._teacher_pretraining(teacher_set, recipe),
            trials=self._cell_trials(point, seed),
        )

    def _stage(self, point: GridPoint, seed: int) -> tuple[str, RecipeSpec]:
        """The stage that trains the student of a point with a seed, and its recipe; resolved once."""
        if (point, seed) not in self._stages:
            self._stages[point, seed] = (self._searched if point.trials else self._training)(point, seed)
        return self._stages[point, seed]

    def _trial(self, point: GridPoint, index: int, seed: int) -> tuple[str, RecipeSpec]:
        return self._stage(replace(point, trials=(), trial=point.trials[index]), seed)

    def _cell_trials(self, point: GridPoint, seed: int) -> tuple[CellTrial, ...]:
        return tuple(
            CellTrial(trial.label, self._trial(point, index, seed)[0]) for index, trial in enumerate(point.trials)
        )

    def _searched(self, point: GridPoint, seed: int) -> tuple[str, RecipeSpec]:
        """The stage that tests the best trial of a point with a seed, and the recipe of the first one."""
        numbers, needs = range(len(point.trials)), {}
        for other in (seed, *(each for each in self.suite.seeds if each != seed)):
            for index in numbers:
                role = f"{TRIAL}{index}" if other == seed else f"{OTHER_SEEDS}{TRIAL}{index}.{other}"
                needs[role] = self._trial(point, index, other)[0]
        key, recipe = self._trial(point, 0, seed)
        first = self.draft.stages[key]
        spec = first.spec.model_copy(
            update={
                "kind": "cell",
                "needs": {**first.needs, **needs},
                "code": source_hash("benchbench.stages.searched"),
            }
        )
        return self.draft.add(spec, f"{point.label} | seed {seed}", first.soft_needs), recipe

    def _start(self, point: GridPoint, seed: int) -> str | None:
        """The stage whose weights the student of a point starts from; None for public or random ones."""
        arm, loc = self.grid.arm(point), ("arms", point.arm, "start")
        earlier = self.grid.start(point)
        if earlier is not None:
            return self._stage(earlier, seed)[0]
        if arm.start is not None:
            network = TrainingTask("student", point.student, arm.method, point.data)
            return self.networks.pretraining(arm.start, network, seed, loc)
        if arm.method not in PRETRAINED_METHODS:
            return None
        start = self.networks.own_start("student", point.student, seed)
        if start is not None and arm.method == "published":
            problem = f"student '{point.student}' is pre-trained by this suite, and so nobody has published it"
            raise self.draft.resolver.file.error(problem, ("arms", point.arm, "method"), "take another method")
        return start

    def _public_start(self, point: GridPoint) -> bool:
        """True where the chain of arms that a point ends begins with public weights."""
        earlier = self.grid.start(point)
        if earlier is not None:
            return self._public_start(earlier)
        arm, weights = self.grid.arm(point), self.suite.students[point.student].weights
        own = arm.method in PRETRAINED_METHODS and arm.start is None
        return own and weights is not None and weights.pretraining is None

    def _training(self, point: GridPoint, seed: int) -> tuple[str, RecipeSpec]:
        arm, entry, resolver = self.grid.arm(point), self.suite.students[point.student], self.draft.resolver
        task, start = TrainingTask("student", point.student, arm.method, point.data), self._start(point, seed)
        nearer = ((*task.loc, "recipe"), entry.recipe), (("arms", point.arm, "recipe"), arm.recipe)
        searched = point.trial.recipe_parts(("arms", point.arm, "search")) if point.trial else ()
        merged = self.training.merged_recipe(task, *nearer, *searched)
        builder = SpecBuilder(resolver)
        data = builder.data(self.suite.data[point.data], self.suite.selection, ("data", point.data))
        model = builder.model("student", entry, arm.method in PRETRAINED_METHODS and start is None, task.loc)
        model = for_data(model, task.loc, point.data, self.draft, builder)
        require_start(model, start, task.loc, self.draft)
        check_arm(point.arm, arm, point.data, self.draft)
        losses = self._losses(point.arm, arm, builder)
        recipe = builder.recipe(merged, arm.method)
        resolver.check_labels(point.arm, arm, merged.recipe, merged.loc)
        self.synthetic.check(point.arm, arm, bool(recipe.mix))
        synthetic = self.synthetic.images(arm, NetworkInputs(point.data, data, recipe.inputs()))
        spec = TrainingSpec(
            kind="trial" if point.trial else "cell",
            method=arm.method,
            seed=seed,
            data_seed=self.training.data_seed(seed),
            view_seed=self.suite.view_seed,
            data=data.model_copy(update={"synthetic": synthetic.spec}),
            model=model,
            role="student",
            loss=losses,
            recipe=recipe,
            selection=self.suite.selection.rule,
            components=builder.components,
            code=source_hash("benchbench.stages.trial") if point.trial else self.training.code,
            needs=synthetic.needs,
        )
        spec = check_dot(resolver.file, merged, spec, resolver.registry)
        check_second_view(resolver, ("arms", point.arm, "loss"), merged.recipe, spec)
        teachers = self._teachers(point, spec)
        for teacher in teachers.specs:
            builder.use_network("teacher", teacher.model)
        needs = {**({"start": start} if start else {}), **synthetic.needs, **teachers.needs}
        spec = spec.model_copy(
            update={"teachers": teachers.specs, "needs": needs, "components": builder.components},
        )
        return self.training.add(task, merged, spec, f"{point.label} | seed {seed}", teachers.soft_needs), recipe

    def _losses(self, label: str, arm: Arm, builder: SpecBuilder) -> tuple[LossSpec, ...]:
        of_generated = arm.synthetic.losses if arm.synthetic else None
        return tuple(
            builder.loss(
                ref,
                ["arms", label, "loss", ref.name],
                "all" if of_generated is None or ref.name in of_generated else "real",
            )
            for ref in arm.loss
        )

    def _teachers(self, point: GridPoint, spec: TrainingSpec) -> TeacherParts:
        if point.teacher_set is None:
            return TeacherParts((), {}, {})
        networks = [
            (self.networks.teacher(label, point.teacher_set.state, point.data), weight)
            for label, weight in zip(point.teacher_set.teachers, point.teacher_set.weights, strict=True)
        ]
        inputs = NetworkInputs(point.data, spec.data, spec.recipe.inputs(), spec.needs)
        return self.networks.teachers(networks, spec, inputs)

    def _teacher_pretraining(
        self, teacher_set: TeacherSet | None, recipe: RecipeSpec
    ) -> tuple[tuple[PreTraining | None, str | None], ...]:
        """Of each teacher, the published recipe of its weights and its calibration, where the suite prices them."""
        if teacher_set is None or teacher_set.state == "scratch" or not self.suite.price_teachers:
            return ()
        recipes = [
            (label, published_recipe(entry))
            for label in teacher_set.teachers
            if (entry := self.suite.teachers[label]).weights is None or entry.weights.pretraining is None
        ]
        return tuple((each, self._calibration("teacher", label, each, recipe)) for label, each in recipes)

    def _calibration(self, role: Role, label: str, pretraining: PreTraining | None, recipe: RecipeSpec) -> str | None:
        """The stage that measures a network's training throughput; None where nothing would be priced by it."""
        if pretraining is None or pretraining.image_size is None:
            return None
        builder = SpecBuilder(self.draft.resolver)
        spec = CalibrationSpec(
            model=for_rgb(builder.model(role, self.training.entry(role, label), False, (f"{role}s", label))),
            role=role,
            image_size=pretraining.image_size,
            precision=recipe.precision,
            channels_last=recipe.channels_last,
            fold_bn=recipe.fold_bn,
            compile=recipe.compile,
            device=self.draft.devices.name,
            threads=self.draft.threads,
            components=builder.components,
            code=source_hash("benchbench.stages.calibrate"),
        )
        return self.draft.add(spec, f"throughput of {label} at {pretraining.image_size} px")
