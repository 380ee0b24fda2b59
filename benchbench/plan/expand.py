"""A suite becomes a plan: every cell of the grid, and the stages they stand on, each once and each with a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbench.data.info import DataInfo, DatasetParams
from benchbench.errors import DataError
from benchbench.hardware.devices import Devices
from benchbench.plan.grid import Grid, TeacherSet
from benchbench.plan.keys import identity, key_of, key_of_identity
from benchbench.plan.model import PRETRAINED_METHODS, Cell, Plan, Stage, train_images
from benchbench.plan.pretraining import published_recipe
from benchbench.plan.resolve import Resolver
from benchbench.plan.shared_stages import FrozenNetwork, FrozenStages, cohort_key, with_data_seed
from benchbench.plan.source_hash import source_hash
from benchbench.plan.synthetic_stages import SyntheticStages
from benchbench.plugins import PluginHost
from benchbench.suite.file import Loc, SuiteFile
from benchbench.suite.schema import Arm, ModelEntry, PreTraining, Recipe, Ref, TeacherEntry


def make_plan(file: SuiteFile, host: PluginHost, devices: Devices, data_root: Path) -> Plan:
    """Expands a suite.

    Raises:
        SuiteError: a name, a parameter or a combination that cannot work; found before any compute is spent.
    """
    return _Expansion(file, host, devices, data_root).plan()


class _Expansion:
    def __init__(self, file: SuiteFile, host: PluginHost, devices: Devices, data_root: Path):
        self.file, self.suite, self.host, self.devices, self.root = file, file.suite, host, devices, data_root
        self.resolver = Resolver(file, host, data_root)
        self.stages: dict[str, Stage] = {}
        self.info = {label: self._info(label) for label in self.suite.data}
        self.frozen = FrozenStages(self.suite, self.resolver, devices, self._add)
        self.synthetic = SyntheticStages(self.suite, self.resolver, self.frozen, self._add, self._adapted, self.info)
        # What can change a stage's numbers beside its components: the code that runs it.
        self.train_code = source_hash("benchbench.stages.train")
        self.calibration_code = source_hash("benchbench.stages.calibrate")

    def plan(self) -> Plan:
        grid = Grid(self.file, self.resolver)
        cells = [
            cell
            for label, arm in self.suite.arms.items()
            for teacher_set, row, students in grid.rows(label)
            for data in self.suite.data
            for student in students
            for cell in self._seeded(self._cell(label, arm, data, student, teacher_set, row, self.suite.seeds[0]))
        ]
        grid.check_published(cells)
        return Plan(self.file, self.host, self.devices, self.stages, cells, self.info)

    def _seeded(self, first: Cell) -> Iterator[Cell]:
        """A cell with every seed of the suite: all but the seed is resolved once."""
        yield first
        stage = self.stages[first.stage]
        known = identity(stage.job)
        for seed in self.suite.seeds[1:]:
            own = {"seed": seed, "data_seed": self._data_seed(seed)}
            key = key_of_identity({"kind": stage.kind, **known, **own})
            if key not in self.stages:
                job = {**stage.job, **own}
                label = f"{stage.label.rpartition(' seed ')[0]} seed {seed}"
                group = stage.group and with_data_seed(stage.group, own["data_seed"])
                self.stages[key] = replace(stage, key=key, label=label, job=job, group=group)
            yield replace(first, seed=seed, stage=key)

    def _data_seed(self, seed: int) -> int:
        return seed if self.suite.data_seed is None else self.suite.data_seed

    def _info(self, label: str) -> DataInfo:
        entry, loc = self.suite.data[label], ("data", label, "source")
        component = self.resolver.component("dataset", entry.source.name, loc)
        params = self.resolver.params(component, entry.source.params, [*loc, entry.source.name])
        assert isinstance(params, DatasetParams)
        try:
            info = params.info(self.root)
        except DataError as error:
            raise self.file.error(str(error), loc) from None
        if entry.classes is not None and entry.classes != info.classes:
            problem = f"data set '{label}' has {info.classes} classes, not {entry.classes}"
            raise self.file.error(problem, ("data", label, "classes"))
        if entry.per_class is not None and entry.per_class * info.classes > info.train:
            most = info.train // info.classes
            problem = f"per_class: {entry.per_class} asks for more than there are; '{label}' has about {most} a class"
            raise self.file.error(problem, ("data", label, "per_class"))
        return info

    def _cell(
        self, label: str, arm: Arm, data: str, student: str, teacher_set: TeacherSet | None, row: str, seed: int
    ) -> Cell:
        suite = self.suite
        used: dict[str, Any] = {}
        entry = suite.students[student]
        starts_pretrained = arm.method in PRETRAINED_METHODS
        nearer = (("students", student, "recipe"), entry.recipe), (("arms", label, "recipe"), arm.recipe)
        recipe, augmenters = self._recipe(arm.method, data, *nearer)
        job = self._training_job("student", entry, student, starts_pretrained, data, arm.method, seed, used)
        loc = ["arms", label]
        job["loss"] = [
            {**self.resolver.reference("loss", ref, [*loc, "loss", ref.name], used), "weight": ref.weight}
            for ref in arm.loss
        ]
        job["recipe"] = self.resolver.recipe(recipe, arm.method, augmenters, used)
        self.resolver.check_labels(label, arm, recipe, augmenters)
        # Maps between stages are too large to be kept.
        wants_maps = any("features" in self.host.registry.get("loss", ref.name).needs for ref in arm.loss)
        synthetic, made = self.synthetic.use(label, arm, data, (augmenters, recipe))
        if synthetic is not None:
            job["data"] = {**job["data"], "synthetic": synthetic}
            if arm.synthetic and arm.synthetic.losses:
                job["loss"] = [
                    entry if entry["name"] in arm.synthetic.losses else {**entry, "images": "real"}
                    for entry in job["loss"]
                ]
        needs: dict[str, str] = dict(made)
        after: dict[str, str] = {}
        for number, (teacher, weight) in enumerate(
            zip(teacher_set.teachers, teacher_set.weights, strict=True) if teacher_set else ()
        ):
            assert teacher_set is not None
            teacher_entry = suite.teachers[teacher]
            if teacher_set.state != "pretrained":
                needs[f"teacher{number}"] = self._teacher_stage(teacher, teacher_entry, teacher_set.state, data)
            place = ("teachers", teacher)
            # An adapted teacher's weights come from its stage; the key of that stage stands for them.
            model = self.resolver.model("teacher", teacher_entry, teacher_set.state == "pretrained", place, used)
            job["teachers"].append({"model": model, "adapt": teacher_set.state, "weight": weight})
            source = FrozenNetwork(f"{teacher} ({teacher_set.state})", "teacher", model, teacher_set.state)
            if job["recipe"]["views"] and not wants_maps:
                stage = needs.get(f"teacher{number}")
                shown_with = (augmenters, recipe)
                needs[f"outputs{number}"] = self.frozen.outputs(source, stage, data, job, shown_with, made=made)
            else:
                after |= self.frozen.tuned(f"teacher{number}", source, job["recipe"], self._steps(job, data))
        shown = f"{label}, {teacher_set.shown}" if teacher_set else label
        shown = f"{shown} | {data} | {student} | seed {seed}"
        stage = self._train("cell", shown, job, needs, after, student, data, (augmenters, recipe))
        pretraining = published_recipe(entry) if starts_pretrained else None
        calibration = self._calibration("student", student, pretraining, recipe)
        names, state = (teacher_set.teachers, teacher_set.state) if teacher_set else ((), None)
        taught_by = self._teachers_prices(names, recipe) if state != "scratch" and suite.price_teachers else ()
        how = stage, calibration, pretraining, taught_by
        return Cell(label, arm.method, data, student, seed, names, state, row, *how)

    def _adapted(self, teacher: str, state: Any, data: str) -> str | None:
        return (
            None if state == "pretrained" else self._teacher_stage(teacher, self.suite.teachers[teacher], state, data)
        )

    def _teachers_prices(
        self, teachers: tuple[str, ...], recipe: Recipe
    ) -> tuple[tuple[PreTraining | None, str | None], ...]:
        published = [(name, published_recipe(self.suite.teachers[name])) for name in teachers]
        return tuple((each, self._calibration("teacher", name, each, recipe)) for name, each in published)

    def _teacher_stage(self, label: str, entry: TeacherEntry, state: Any, data: str) -> str:
        used: dict[str, Any] = {}
        place = ("teachers", label)
        nearer = ((*place, "recipe"), entry.recipe), ((*place, "adapt", state), entry.adapt[state])
        recipe, augmenters = self._recipe(state, data, *nearer)
        seed = self.suite.teacher_seed if entry.seed is None else entry.seed
        job = self._training_job("teacher", entry, label, state != "scratch", data, state, seed, used)
        job["loss"] = [{"name": "ce", "params": self._default_params("loss", "ce", used), "weight": 1.0}]
        job["recipe"] = self.resolver.recipe(recipe, state, augmenters, used)
        shown = f"teacher {label} ({state}) | {data}"
        return self._train("teacher", shown, job, {}, {}, label, data, (augmenters, recipe))

    def _train(
        self,
        kind: str,
        shown: str,
        job: dict[str, Any],
        needs: dict[str, str],
        after: dict[str, str],
        model: str,
        data: str,
        augmenters: tuple[Loc, Recipe],
    ) -> str:
        """Adds a stage that trains, with what it stands on."""
        if job["method"] == "linear_probe":
            # The trunk is frozen: what it says of the images is computed once, and the head trains on that.
            source = FrozenNetwork(model, job["model_kind"], job["model"], "pretrained")
            needs = {**needs, "features": self.frozen.outputs(source, None, data, job, augmenters, every_split=True)}
        elif job["recipe"]["epochs"]:
            source = FrozenNetwork(model, job["model_kind"], job["model"], None)
            after = {**after, **self.frozen.tuned("student", source, job["recipe"], self._steps(job, data))}
        job["needs"] = needs
        return self._add(kind, shown, job, needs, after, cohort_key(job) if kind == "cell" else None)

    def _steps(self, job: dict[str, Any], data: str) -> int:
        count = train_images(self.info[data], job["data"])
        return max(1, count // job["recipe"]["batch_size"]) * job["recipe"]["epochs"]

    def _training_job(
        self, kind: str, entry: Any, label: str, pretrained: bool, data: str, method: str, seed: int, used: Any
    ) -> dict[str, Any]:
        place = (f"{kind}s", label)
        return {
            "method": method,
            "seed": seed,
            "data_seed": self._data_seed(seed),
            "view_seed": self.suite.view_seed,
            "data": self.resolver.data(self.suite.data[data], self.suite.selection, ("data", data), used),
            "model": self.resolver.model(kind, entry, pretrained, place, used),
            "model_kind": kind,
            "teachers": [],
            "selection": self.suite.selection.rule,
            "components": used,
            "code": self.train_code,
        }

    def _recipe(self, method: Any, data: str, *nearer: tuple[Loc, Recipe]) -> tuple[Recipe, Loc]:
        """A stage's recipe, and the place in the suite that its augmenters come from."""
        recipes = self.suite.recipes
        parts: list[tuple[Loc, Recipe]] = [
            (("recipes", method), getattr(recipes, method)),
            (("data", data, "recipe"), self.suite.data[data].recipe),
            *nearer,
        ]
        places = [place for place, part in parts if "augment" in part.model_fields_set]
        whole = recipes.default.updated(*(part for _, part in parts))
        if method == "published":  # tested as it is
            whole = whole.model_copy(update={"epochs": 0})
        return whole, [*(places[-1] if places else ("recipes", "default")), "augment"]

    def _default_params(self, kind: str, name: str, used: dict[str, Any]) -> dict[str, Any]:
        return self.resolver.reference(kind, Ref(name=name), (), used)["params"]

    def _calibration(self, kind: str, label: str, pretraining: PreTraining | None, recipe: Recipe) -> str | None:
        """The stage that measures a network's training throughput; None where nothing would be priced by it."""
        if pretraining is None or pretraining.image_size is None:
            return None
        used: dict[str, Any] = {}
        entries: Mapping[str, ModelEntry] = self.suite.students if kind == "student" else self.suite.teachers
        job = {
            "model": self.resolver.model(kind, entries[label], False, (f"{kind}s", label), used),
            "kind": kind,
            "image_size": pretraining.image_size,
            **{name: getattr(recipe, name) for name in ("precision", "channels_last", "fold_bn", "compile")},
            # Like a "tuning" stage's, its result is about a device.
            "device": self.devices.name,
            "threads": self.devices.threads if self.devices.kind == "cpu" else None,
            "components": used,
            "code": self.calibration_code,
            "needs": {},
        }
        return self._add("calibration", f"throughput of {label} at {pretraining.image_size} px", job, {})

    def _add(
        self,
        kind: str,
        label: str,
        job: dict[str, Any],
        needs: dict[str, str],
        after: dict[str, str] | None = None,
        group: str | None = None,
    ) -> str:
        key = key_of({"kind": kind, **job})
        self.stages.setdefault(key, Stage(kind, key, label, job, needs, after or {}, group))
        return key
